"""Keys and values that are kept give the logits of the whole forward pass."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from config import ModelConfig
from model import GPT, KVCache

SHAPE = ModelConfig(n_layer=3, n_head=4, n_embd=32, block_size=24, vocab_size=50, dropout=0.5)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(SHAPE).eval()
    # Weights as large as after training: at N(0, 0.02) attention is almost uniform.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)
    return model


def tokens(rows: int, count: int) -> torch.Tensor:
    return torch.randint(4, 50, (rows, count), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def read(model: GPT, cache: KVCache, idx: torch.Tensor) -> torch.Tensor:
    return model.head(model.hidden(idx, cache))


@pytest.mark.parametrize("cuts", [(24,), (1,) * 24, (10, 14), (3, 1, 1, 12, 7)])
def test_however_the_tokens_come(cuts: tuple[int, ...], model: GPT) -> None:
    idx = tokens(2, 24)
    cache = KVCache(model, 2)
    logits = torch.cat([read(model, cache, part) for part in idx.split(cuts, dim=1)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(idx), rtol=0, atol=1e-5)


def test_rows_of_different_lengths_do_not_see_each_other(model: GPT) -> None:
    idx = tokens(3, 24)
    lengths = [5, 11, 1]
    cache = KVCache(model, 3)
    read(model, cache, idx[:, :11])
    cache.lengths = list(lengths)  # what was read beyond is padding
    new = torch.stack([idx[row, n : n + 4] for row, n in enumerate(lengths)])
    logits = torch.cat([read(model, cache, new[:, n : n + 1]) for n in range(4)], dim=1)
    assert cache.lengths == [9, 15, 5]
    for row, length in enumerate(lengths):
        with torch.no_grad():
            alone = model(idx[row : row + 1, : length + 4])[:, -4:]
        torch.testing.assert_close(logits[row : row + 1], alone, rtol=0, atol=1e-5)


def test_rows_leave_and_are_replaced(model: GPT) -> None:
    idx = tokens(4, 24)
    cache, other = KVCache(model, 3), KVCache(model, 1)
    read(model, cache, idx[:3, :6])
    read(model, other, idx[3:, :9])
    cache.keep([2, 0])
    cache.replace([1], other)
    assert cache.lengths == [6, 9]
    logits = read(model, cache, torch.stack([idx[2, 6:7], idx[3, 9:10]]))
    for row, (source, length) in enumerate([(2, 7), (3, 10)]):
        with torch.no_grad():
            alone = model(idx[source : source + 1, :length])[:, -1]
        torch.testing.assert_close(logits[row], alone, rtol=0, atol=1e-5)


def test_the_context_is_as_long_as_without(model: GPT) -> None:
    cache = KVCache(model, 1)
    read(model, cache, tokens(1, 20))
    with pytest.raises(ValueError, match="25 tokens: the context is 24"):
        read(model, cache, tokens(1, 5))


def test_a_cache_is_of_the_models_type() -> None:
    half = GPT(SHAPE).eval().bfloat16()
    cache = KVCache(half, 1)
    assert cache.buffer.dtype == torch.bfloat16
    assert read(half, cache, tokens(1, 3)).dtype == torch.bfloat16


@pytest.mark.parametrize("vocab_size", [48, 50, 51])
@pytest.mark.parametrize("rows", [1, 2, 16])
def test_a_layout_for_generation_changes_no_logits(vocab_size: int, rows: int) -> None:
    """A vector, a few rows, more than few; outputs that are a multiple of 8 and that are not."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(SHAPE, vocab_size=vocab_size)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    idx = tokens(rows, 24) % vocab_size
    with torch.no_grad():
        plain = model(idx)
        assert model.for_generation() is model
        for length in (1, 4, 24):
            torch.testing.assert_close(model(idx[:, :length]), plain[:, :length], rtol=0, atol=1e-5)
        cache = KVCache(model, rows)
        logits = torch.cat([read(model, cache, idx[:, t : t + 1]) for t in range(24)], dim=1)
        torch.testing.assert_close(logits, plain, rtol=0, atol=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_a_model_laid_out_for_generation_can_still_learn(model: GPT) -> None:
    idx = tokens(2, 24)
    gradients = []
    for one in (model, copy.deepcopy(model).for_generation()):
        one.zero_grad()
        one(idx, idx)[1].backward()
        gradients.append([p.grad for p in one.parameters()])
    for plain, laid_out in zip(*gradients, strict=True):
        torch.testing.assert_close(laid_out, plain, rtol=1e-4, atol=1e-6)
