"""The architecture, figure by figure and property by property."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from config import PRESETS, ConfigError, ModelConfig
from model import GPT, IGNORE_INDEX, Dropout, RotaryPositionalEmbedding, attention_in_halves

SMALL = ModelConfig(n_layer=2, n_head=4, n_embd=32, block_size=16, vocab_size=50, dropout=0.0)


def small(**changes: object) -> GPT:
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(SMALL, **changes))
    # Weights as large as after training: at N(0, 0.02) attention is almost uniform.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)
    return model


def ids(*shape: int, vocab_size: int = 50) -> torch.Tensor:
    return torch.randint(0, vocab_size, shape, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# -------------------------------------------------------------------------------- figures


def test_base_has_exactly_the_parameters_of_the_specification() -> None:
    with torch.device("meta"):
        base = GPT(ModelConfig())
    assert count(base.embedding) == 4_194_304
    assert count(base.blocks) == 18_886_656
    assert count(base.final_norm) == 1_024
    assert base.parameter_count() == count(base) == 23_081_984


def test_base_takes_143_mflop_a_token() -> None:
    with torch.device("meta"):
        base = GPT(ModelConfig())
    assert base.flops_per_token() == 6 * (8192 * 512 + 6 * 12 * 512**2) + 6 * 6 * 512 * 256
    assert round(base.flops_per_token() / 1e6) == 143


@pytest.mark.parametrize(
    ("preset", "layers", "heads", "width", "context"),
    [
        ("tiny", 4, 4, 256, 256),
        ("base", 6, 8, 512, 256),
        ("tuned", 6, 8, 512, 256),
        ("medium", 8, 8, 512, 256),
        ("large", 12, 12, 768, 512),
    ],
)
def test_presets_have_heads_64_wide(
    preset: str, layers: int, heads: int, width: int, context: int
) -> None:
    config = PRESETS[preset].model
    assert (config.n_layer, config.n_head, config.n_embd) == (layers, heads, width)
    assert (config.block_size, config.vocab_size, config.dropout) == (context, 8192, 0.1)
    with torch.device("meta"):
        model = GPT(config)
    assert len(model.blocks) == layers
    for block in model.blocks:
        assert block.attention.rope.cos.shape == (context, 64)
        assert block.feed_forward.up.weight.shape == (4 * width, width)
    assert count(model) == 8192 * width + layers * (12 * width**2 + 4 * width) + 2 * width


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_embd 30: must be a multiple of 2 x n_head"):
        ModelConfig(n_head=4, n_embd=30)


# -------------------------------------------------------------------------------- parts


def test_linear_layers_have_no_bias_and_norms_have_weight_and_bias() -> None:
    model = small()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(linear) == 4 * SMALL.n_layer
    assert all(layer.bias is None for layer in linear)
    assert len(norms) == 2 * SMALL.n_layer + 1
    assert all(norm.weight is not None and norm.bias is not None for norm in norms)


def test_positions_are_not_learnt_and_not_in_the_checkpoint() -> None:
    model = small()
    names = set(dict(model.named_parameters()))
    assert names == set(model.state_dict())
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    assert [e.num_embeddings for e in embeddings] == [SMALL.vocab_size]
    assert sum(isinstance(m, RotaryPositionalEmbedding) for m in model.modules()) == SMALL.n_layer


def test_output_layer_is_the_embedding() -> None:
    model = small()
    before = model(ids(1, 4))
    with torch.no_grad():
        model.embedding.weight[7] = 0  # a token that stands nowhere in the input
    assert 7 not in ids(1, 4)
    after = model(ids(1, 4))
    assert torch.all(after[..., 7] == 0)
    assert torch.all(before[..., 7] != 0)


def test_gelu_is_the_exact_one() -> None:
    feed_forward = small().eval().blocks[0].feed_forward
    x = torch.randn(3, SMALL.n_embd) * 3
    up = x @ feed_forward.up.weight.T
    exact = up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))
    torch.testing.assert_close(feed_forward(x), exact @ feed_forward.down.weight.T)


def test_norms_stand_before_attention_and_feed_forward() -> None:
    model = small().eval()
    block = model.blocks[0]
    x = torch.randn(2, 5, SMALL.n_embd)
    middle = x + block.attention(block.attention_norm(x))
    expected = middle + block.feed_forward(block.feed_forward_norm(middle))
    torch.testing.assert_close(block(x), expected)


def test_initial_weights_are_smaller_where_they_write_to_the_residual_stream() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(n_layer=8, n_head=2, n_embd=128, vocab_size=500))
    for block in model.blocks:
        for plain in (block.attention.qkv, block.feed_forward.up):
            assert plain.weight.std().item() == pytest.approx(0.02, rel=0.05)
        for writer in (block.attention.proj, block.feed_forward.down):
            assert writer.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    # So at the start the model guesses evenly.
    loss = model(ids(4, 32), ids(4, 32) + 100)[1]
    assert loss.item() == pytest.approx(math.log(500), abs=0.1)


# -------------------------------------------------------------------------------- rotary


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    rope = RotaryPositionalEmbedding(head_dim=8, block_size=12)
    q, k = torch.randn(2, 8)
    rotated_q, rotated_k = (rope(x.expand(1, 1, 12, 8))[0, 0] for x in (q, k))
    scores = rotated_q @ rotated_k.T  # (12, 12)
    for distance in range(-11, 12):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert scores[:, 0].std() > 0.1  # and they do depend on it


def test_rotary_keeps_norms_and_the_first_position() -> None:
    rope = RotaryPositionalEmbedding(head_dim=8, block_size=12)
    x = torch.randn(2, 3, 12, 8)
    rotated = rope(x)
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotated[:, :, 0], x[:, :, 0])
    assert not torch.allclose(rotated[:, :, 1], x[:, :, 1])


def test_rotary_frequencies_fall_from_one_radian_a_position_to_a_ten_thousandth() -> None:
    rope = RotaryPositionalEmbedding(head_dim=4, block_size=3)
    # Pairs are (0, 2) and (1, 3); the second turns 10,000 ** (2 / 4) = 100 times slower.
    x = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 3, 4)
    expected = [math.cos(2), math.cos(0.02), math.sin(2), math.sin(0.02)]
    torch.testing.assert_close(rope(x)[0, 0, 2], torch.tensor(expected))


def test_rotary_angles_stay_exact_in_bfloat16() -> None:
    rope = RotaryPositionalEmbedding(head_dim=8, block_size=200)
    x = torch.randn(1, 1, 200, 8).bfloat16()
    rotated = rope(x)
    assert rotated.dtype == torch.bfloat16
    torch.testing.assert_close(rotated, rope(x.float()).bfloat16(), rtol=0, atol=0)


def test_odd_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="must be even"):
        RotaryPositionalEmbedding(head_dim=7, block_size=4)


# -------------------------------------------------------------------------------- forward


def test_what_comes_later_changes_nothing_before() -> None:
    model = small().eval()
    idx = ids(2, 16)
    logits = model(idx)
    for t in range(1, 16):
        changed = idx.clone()
        changed[:, t:] = (changed[:, t:] + 1) % 50
        now = model(changed)
        torch.testing.assert_close(now[:, :t], logits[:, :t], rtol=0, atol=1e-6)
        assert not torch.allclose(now[:, t], logits[:, t], atol=1e-3)


def test_what_came_first_reaches_the_end() -> None:
    model = small().eval()
    idx = ids(1, 16)
    changed = idx.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 50
    assert not torch.allclose(model(changed)[0, -1], model(idx)[0, -1], atol=1e-4)


def test_order_matters() -> None:
    # One block: without positions, its last token would see the others as a set.
    model = small(n_layer=1).eval()
    idx = ids(1, 16)
    swapped = idx[:, [1, 0, *range(2, 16)]]
    assert not torch.allclose(model(swapped)[0, -1], model(idx)[0, -1], atol=1e-4)


def test_forward_gives_logits_or_a_scalar_loss() -> None:
    model = small().eval()
    idx, targets = ids(3, 10), ids(3, 10) + 0
    targets[0, :4] = IGNORE_INDEX
    logits = model(idx)
    assert logits.shape == (3, 10, 50)
    nothing, loss = model(idx, targets)
    assert nothing is None
    assert loss.shape == ()
    log_p = F.log_softmax(logits, dim=-1)
    counted = targets != IGNORE_INDEX
    expected = -log_p[counted].gather(1, targets[counted][:, None]).mean()
    torch.testing.assert_close(loss, expected)


def test_longer_than_the_context_is_refused() -> None:
    model = small().eval()
    assert model(ids(1, 16)).shape == (1, 16, 50)
    with pytest.raises(ValueError, match="17 tokens: the context is 16"):
        model(ids(1, 17))


def test_a_shorter_context_gives_the_same_logits() -> None:
    model = small().eval()
    torch.testing.assert_close(model(ids(2, 16))[:, :5], model(ids(2, 16)[:, :5]))


@pytest.mark.parametrize("part", ["embedding", "attention", "feed-forward"])
def test_dropout_acts_in_training_alone(part: str) -> None:
    model = small(dropout=0.5)
    for block in model.blocks:
        if part != "attention":
            block.attention.residual_dropout.p = 0.0
        if part != "feed-forward":
            block.feed_forward.residual_dropout.p = 0.0
    if part != "embedding":
        model.embedding_dropout.p = 0.0
    idx = ids(1, 16)
    assert not torch.allclose(model(idx), model(idx), atol=1e-4)
    model.eval()
    torch.testing.assert_close(model(idx), model(idx), rtol=0, atol=0)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_zeroes_its_share_of_every_part_and_scales_the_rest(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(3, 333, 333)
    y = Dropout(p).train()(x)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)))
    # Four decisions come from one random number: each of them, and each of them beside the next.
    for lane in range(4):
        share = (y.flatten()[lane::4] == 0).float().mean().item()
        assert share == pytest.approx(p, abs=0.006), lane
    dropped = y.flatten() == 0
    for distance in (1, 2, 3, 4):
        both = (dropped[distance:] & dropped[:-distance]).float().mean().item()
        assert both == pytest.approx(p * p, abs=0.006), distance


@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 7)])
def test_dropout_takes_any_shape_and_its_numbers_from_the_seed(shape: tuple[int, ...]) -> None:
    dropout, x = Dropout(0.5), torch.ones(shape)
    torch.manual_seed(3)
    first = dropout(x)
    torch.manual_seed(3)
    assert first.shape == shape
    assert torch.equal(dropout(x), first)
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("T", [1, 2, 7, 16])
def test_attention_in_halves_is_causal_attention(T: int) -> None:
    torch.manual_seed(0)
    halves = [torch.randn(2, 3, T, 8, requires_grad=True) for _ in range(3)]
    whole = [part.detach().clone().requires_grad_() for part in halves]
    y = attention_in_halves(*halves)
    expected = F.scaled_dot_product_attention(*whole, is_causal=True)
    torch.testing.assert_close(y, expected)
    for output in (y, expected):
        (output * torch.arange(8)).sum().backward()
    for one, other in zip(halves, whole, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_training_in_bfloat16_computes_the_same_without_the_fused_kernel() -> None:
    """On a CPU the fused kernel is the slower one (docs/EXPERIMENTS.md)."""
    model = small()
    expected = gradients(model.train())  # in float32, through the fused kernel
    with torch.autocast("cpu", torch.bfloat16), torch.profiler.profile() as profile:
        found = gradients(model)
    assert not [e for e in profile.events() if "attention" in e.name]
    for name, gradient in found.items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 0.05, name


# -------------------------------------------------------------------------------- gradients


def gradients(model: GPT) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(5)
    model(ids(2, 16), ids(2, 16))[1].backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputed_activations_give_the_same_gradients(dropout: float) -> None:
    model = small(dropout=dropout).train()
    passes = []
    model.blocks[0].register_forward_pre_hook(lambda *_: passes.append(1))
    plain = gradients(model)
    assert len(passes) == 1
    model.grad_checkpoint = True
    recomputed = gradients(model)
    assert len(passes) == 3  # forward, and once more in the backward pass
    torch.testing.assert_close(recomputed, plain)
    assert all(gradient.abs().sum() > 0 for gradient in plain.values())


def test_every_parameter_learns() -> None:
    learnt = gradients(small())
    for name, gradient in learnt.items():
        assert gradient.abs().max() > 0, name
    # Through the output layer, even the embeddings of tokens that are in no input.
    assert (learnt["embedding.weight"].abs().amax(dim=1) > 0).all()
