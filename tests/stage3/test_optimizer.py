"""AdamW's groups and the learning rate over a run."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math

import pytest
import torch

from config import PRESETS, ModelConfig, TrainConfig
from model import GPT
from pipeline.device import choose_compute
from pipeline.optimizer import (
    Muon,
    MuonAndAdamW,
    learning_rate_at,
    load_state,
    make_optimizer,
    orthogonalised,
)

CPU = choose_compute("cpu", "float32")
RUN = TrainConfig(max_iters=105, warmup_iters=4, learning_rate=1e-2, min_lr=1e-3)


def test_recipe_of_base() -> None:
    base = PRESETS["base"].train
    assert base == TrainConfig()
    assert (base.learning_rate, base.last_lr, base.warmup_iters) == (3e-4, 3e-5, 100)
    assert (base.batch_size, base.grad_accum, base.max_iters) == (32, 4, 10_000)
    assert (base.weight_decay, base.grad_clip) == (0.1, 1.0)


def test_learning_rate_rises_falls_and_ends_at_its_lowest() -> None:
    curve = [learning_rate_at(step, RUN) for step in range(105)]
    assert curve[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert curve[4] == max(curve) == pytest.approx(0.01)
    assert all(later < earlier for earlier, later in itertools.pairwise(curve[4:]))
    assert curve[54] == pytest.approx((1e-2 + 1e-3) / 2)  # half way down the cosine
    assert curve[29] == pytest.approx(1e-3 + 9e-3 * (1 + 0.5**0.5) / 2)
    assert curve[104] == pytest.approx(1e-3)


def test_learning_rate_without_warm_up_starts_at_its_peak() -> None:
    run = dataclasses.replace(RUN, warmup_iters=0)
    assert learning_rate_at(0, run) == pytest.approx(1e-2)
    assert learning_rate_at(0, dataclasses.replace(run, max_iters=1)) == pytest.approx(1e-2)


def test_a_linear_schedule_falls_by_the_same_amount_every_step() -> None:
    run = dataclasses.replace(RUN, schedule="linear")
    curve = [learning_rate_at(step, run) for step in range(4, 105)]
    falls = [earlier - later for earlier, later in itertools.pairwise(curve)]
    assert falls == pytest.approx([(1e-2 - 1e-3) / 100] * 100)
    assert curve[-1] == pytest.approx(1e-3)


# Beside Muon the embedding goes at twice the rate of all others.
@pytest.mark.parametrize(("name", "embedding_rate"), [("adamw", 1e-2), ("muon", 2e-2)])
def test_only_matrices_decay(name: str, embedding_rate: float) -> None:
    model = GPT(ModelConfig(2, 2, 32, 16, 50))
    optimizer = make_optimizer(
        model, dataclasses.replace(RUN, optimizer=name, weight_decay=0.5), CPU
    )
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(model.parameters()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        rate = embedding_rate if parameter is model.embedding.weight else 1e-2
        decay = rate * 0.5 if parameter.dim() == 2 else 0.0
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - decay), msg=name)


def test_moments_are_gpt_3s() -> None:
    optimizer = make_optimizer(GPT(ModelConfig(1, 1, 8, 8, 20)), RUN, CPU)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(group["betas"] == (0.9, 0.95) for group in optimizer.param_groups)
    assert all(group["eps"] == 1e-7 for group in optimizer.param_groups)
    beside = make_optimizer(
        GPT(ModelConfig(1, 1, 8, 8, 20)), dataclasses.replace(RUN, optimizer="muon"), CPU
    )
    assert isinstance(beside, MuonAndAdamW)
    assert all(group["betas"] == (0.9, 0.99) for group in beside.adamw.param_groups)


def test_muon_steps_the_matrices_of_the_blocks_alike_in_all_directions() -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(2, 2, 32, 16, 50))
    run = dataclasses.replace(RUN, optimizer="muon", weight_decay=0.0)
    optimizer = make_optimizer(model, run, CPU)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    idx = torch.randint(4, 50, (4, 16), generator=torch.Generator().manual_seed(0))
    loss = model(idx, idx)[1]
    loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        step = before[name] - parameter.detach()
        if parameter.dim() == 2 and "embedding" not in name:
            # Queries, keys and values lie in one matrix, and are steps of their own.
            for part in step.chunk(3 if "qkv" in name else 1):
                values = torch.linalg.svdvals(part)
                assert values[len(values) // 4] < 2 * values[-len(values) // 4], name
                # As long as a step of AdamW, where each weight moves by about a fifth of the rate.
                size = float(part.square().mean().sqrt())
                assert size == pytest.approx(0.2 * 1e-2, rel=0.35), name
        else:
            moved = step[step != 0].abs()  # AdamW's first step, but where the gradient is tiny
            rate = 2e-2 if parameter is model.embedding.weight else 1e-2
            assert moved.median().item() == pytest.approx(rate, rel=0.01), name


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_muon_computes_as_pytorchs(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    one = Muon([{"params": [ours]}], weight_decay=0.3, dtype=torch.bfloat16)
    other = torch.optim.Muon([theirs], weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for rate in (1e-2, 3e-3, 1e-3):
        for group in (*one.param_groups, *other.param_groups):
            group["lr"] = rate
        ours.grad = theirs.grad = torch.randn(shape)
        one.step()
        other.step()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-2 * rate)


def test_singular_values_become_alike_in_either_arithmetic() -> None:
    matrices = torch.randn(3, 20, 10, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):
        assert orthogonalised(matrices, dtype).dtype == dtype
        values = torch.linalg.svdvals(orthogonalised(matrices, dtype).float())
        assert values.min() > 0.6
        assert values.max() < 1.3
    model = GPT(ModelConfig(1, 1, 8, 8, 20))
    run = dataclasses.replace(RUN, optimizer="muon")
    for name in ("float32", "bfloat16", "float16"):
        optimizer = make_optimizer(model, run, choose_compute("cpu", name))
        assert isinstance(optimizer, MuonAndAdamW)
        # Where bfloat16 is not what the device is fast in, float32.
        assert optimizer.muon.dtype == (torch.bfloat16 if name == "bfloat16" else torch.float32)


@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
@pytest.mark.parametrize("infinite", ["embedding", "qkv", "up", "final_norm"])
def test_float16_leaves_out_a_step_with_an_infinite_gradient(
    optimizer_name: str, infinite: str
) -> None:
    compute = choose_compute("cpu", "float16")
    model = GPT(ModelConfig(1, 1, 8, 8, 20))
    optimizer = make_optimizer(model, dataclasses.replace(RUN, optimizer=optimizer_name), compute)
    scaler = compute.scaler()
    moved = []
    for gradient in (1.0, math.inf):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        scaler.scale(model.embedding.weight.sum()).backward()
        for name, parameter in model.named_parameters():
            parameter.grad = torch.full_like(parameter, gradient if infinite in name else 1.0)
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        moved.append({name for name, p in model.named_parameters() if (p != before[name]).any()})
    assert moved == [set(dict(model.named_parameters())), set()]
    assert scaler.get_scale() == 2.0**15  # half of the first


def test_the_state_of_muon_goes_to_another_one() -> None:
    def train(
        model: GPT, optimizer: torch.optim.Optimizer, steps: range, rate: float = 1e-2
    ) -> None:
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = rate
            idx = torch.randint(4, 50, (4, 16), generator=torch.Generator().manual_seed(step))
            model(idx, idx)[1].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    run = dataclasses.replace(RUN, optimizer="muon")
    torch.manual_seed(0)
    one, other = (GPT(ModelConfig(1, 2, 16, 16, 50, dropout=0.0)) for _ in range(2))
    its, others = make_optimizer(one, run, CPU), make_optimizer(other, run, CPU)
    train(one, its, range(3))
    other.load_state_dict(one.state_dict())
    others.load_state_dict(copy.deepcopy(its.state_dict()))
    # The groups must still be the ones that step: the learning rate is set through them.
    train(one, its, range(3, 6), rate=3e-3)
    train(other, others, range(3, 6), rate=3e-3)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_what_was_gathered_comes_back_and_settings_stay() -> None:
    """A run that moves from a device without fused kernels keeps this one's."""
    model = GPT(ModelConfig(1, 1, 8, 8, 20))
    one, other = (
        make_optimizer(model, run, CPU) for run in (RUN, dataclasses.replace(RUN, weight_decay=0.7))
    )
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    one.step()
    saved = one.state_dict()
    for group in saved["param_groups"]:
        group["fused"] = False
    load_state(other, saved)
    assert [group["weight_decay"] for group in other.param_groups] == [0.7, 0.0]
    assert all(group["fused"] for group in other.param_groups)
    parameter = model.embedding.weight
    assert torch.equal(other.state[parameter]["exp_avg"], one.state[parameter]["exp_avg"])


def test_a_minimum_above_the_peak_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--min-lr 0\.1: must be at most --learning-rate"):
        TrainConfig(learning_rate=1e-2, min_lr=0.1)
