"""What one step does, and what must not change it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from config import ModelConfig
from model import GPT, IGNORE_INDEX
from pipeline.batches import TrainingRows
from pipeline.training_text import load_training_text


def first_model(workspace: Any) -> GPT:
    """The model before its first step."""
    torch.manual_seed(workspace.run["train"]["seed"])
    return GPT(ModelConfig(**workspace.run["model"]))


def first_rows(workspace: Any, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    text = load_training_text(workspace.data, workspace.tokenizer)
    return TrainingRows(text.train, 32, workspace.run["train"]["seed"]).rows(0, count)


def test_the_first_step_by_hand(workspace: Any) -> None:
    workspace.train(
        {"dropout": 0.0}, max_iters=1, batch_size=2, grad_accum=3, seed=5, weight_decay=0.0
    )
    model = first_model(workspace)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    inputs, targets = first_rows(workspace, 6)
    loss = model(inputs, targets)[1]
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
    (row,) = workspace.metrics
    assert row["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    # Adam's first step goes the whole learning rate against the sign of each gradient.
    after = workspace.checkpoint()["model"]
    for name, gradient in gradients.items():
        clear = gradient.abs() > 1e-4
        expected = before[name] - row["learning_rate"] * gradient.sign()
        assert clear.any()
        torch.testing.assert_close(after[name][clear], expected[clear], rtol=0, atol=1e-5)


def test_accumulated_micro_batches_equal_one_big_batch(prepared: Any, tmp_path: Path) -> None:
    weights, losses = [], []
    for batch_size, grad_accum in ((8, 1), (2, 4), (1, 8)):
        workspace = prepared.copy(tmp_path / f"{grad_accum}")
        outcome = workspace.train(
            {"dropout": 0.0}, max_iters=8, batch_size=batch_size, grad_accum=grad_accum
        )
        assert outcome.code == 0
        weights.append(workspace.checkpoint()["model"])
        losses.append([row["train_loss"] for row in workspace.metrics])
    # <bos> is no target, so micro-batches differ in how much they count.
    _, targets = first_rows(workspace, 8)
    assert len({int((row != IGNORE_INDEX).sum()) for row in targets}) > 1
    for other in (1, 2):
        torch.testing.assert_close(weights[other], weights[0], rtol=0, atol=2e-5)
        assert losses[other] == pytest.approx(losses[0], rel=1e-5)


def test_recomputed_activations_train_the_same_model(prepared: Any, tmp_path: Path) -> None:
    weights = []
    for flag in (False, True):
        workspace = prepared.copy(tmp_path / f"{flag}")
        assert workspace.train(max_iters=5, grad_checkpoint=flag).code == 0
        weights.append(workspace.checkpoint()["model"])
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_seed_fixes_the_run(
    dtype: str, optimizer: str, prepared: Any, tmp_path: Path, identical: Any
) -> None:
    weights = []
    for i, seed in enumerate((3, 3, 4)):
        workspace = prepared.copy(tmp_path / f"{i}")
        outcome = workspace.train(max_iters=3, seed=seed, dtype=dtype, optimizer=optimizer)
        assert outcome.code == 0, outcome.err
        weights.append(workspace.checkpoint()["model"])
    assert identical(weights[0], weights[1])
    assert not identical(weights[0], weights[2])


@pytest.mark.parametrize(("grad_clip", "moves"), [(1e-12, False), (0.0, True), (1.0, True)])
def test_gradients_are_clipped(grad_clip: float, moves: bool, workspace: Any) -> None:
    # A gradient far below AdamW's epsilon (1e-7) hardly moves a weight.
    workspace.train(max_iters=1, grad_clip=grad_clip, weight_decay=0.0)
    before = first_model(workspace).state_dict()
    after = workspace.checkpoint()["model"]
    largest = max(float((after[name] - before[name]).abs().max()) for name in after)
    rate = workspace.metrics[0]["learning_rate"]
    assert largest == pytest.approx(rate, rel=0.01) if moves else largest < rate / 1000


def test_clipping_can_be_switched_off(prepared: Any, tmp_path: Path, identical: Any) -> None:
    weights = []
    for i, grad_clip in enumerate((0.0, 1e9, 0.2)):
        workspace = prepared.copy(tmp_path / f"{i}")
        assert workspace.train(max_iters=4, grad_clip=grad_clip).code == 0
        weights.append(workspace.checkpoint()["model"])
    assert max(row["gradient_norm"] for row in workspace.metrics) > 1
    assert identical(weights[0], weights[1])
    assert not identical(weights[0], weights[2])


def test_rows_are_read_in_order_without_gaps(workspace: Any) -> None:
    # At a rate of nearly nothing, the loss of a step is that of its rows under the first weights.
    workspace.train(
        {"dropout": 0.0}, max_iters=3, batch_size=2, learning_rate=1e-12, min_lr=0.0
    )  # fmt: skip
    model = first_model(workspace)
    inputs, targets = first_rows(workspace, 6)
    for step, row in enumerate(workspace.metrics):
        part = slice(2 * step, 2 * step + 2)
        by_hand = model(inputs[part], targets[part])[1].item()
        assert row["train_loss"] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_trains_weights_in_float32(
    dtype: str, prepared: Any, trained: Any, tmp_path: Path
) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    outcome = workspace.train(max_iters=60, eval_interval=20, dtype=dtype)
    assert outcome.code == 0, outcome.err
    losses = [row["val_loss"] for row in workspace.metrics if row["val_loss"] is not None]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < workspace.run["result"]["unigram_loss"]
    content = workspace.checkpoint()
    assert all(tensor.dtype == torch.float32 for tensor in content["model"].values())
    assert ("scale" in content["scaler"]) is (dtype == "float16")
    # Rounded arithmetic: near the float32 run, but not the same.
    for value in ("train_loss", "gradient_norm"):
        exact, rounded = (
            [row[value] for row in space.metrics[:5]] for space in (trained, workspace)
        )
        assert exact != rounded
        assert exact == pytest.approx(rounded, rel=0.02)
