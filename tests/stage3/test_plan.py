"""The plan that is made from a measured step."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest
import torch

from config import PRESETS
from pipeline.device import Compute, choose_compute
from pipeline.plan import Plan, Task, duration, make_plan

CPU = Compute(torch.device("cpu"), torch.float32, "a test")
LARGE_TEXT = Task(train_tokens=20_000_000, val_tokens=100, vocab_size=300, is_sample=False)


def epochs(plan: Plan, task: Task) -> float:
    rows = plan.train.max_iters * plan.train.batch_size * plan.train.grad_accum
    return rows * plan.model.block_size / task.train_tokens


@pytest.mark.slow
def test_auto_gives_a_small_text_the_small_model_and_fifteen_epochs() -> None:
    task = Task(train_tokens=9_000, val_tokens=1_000, vocab_size=300, is_sample=True)
    state = torch.get_rng_state()
    plan = make_plan({"preset": "auto", "minutes": 600.0}, task, choose_compute("cpu"))
    assert plan.train.preset == "tiny"
    assert (plan.model.n_layer, plan.model.n_embd, plan.model.vocab_size) == (4, 256, 300)
    assert epochs(plan, task) == pytest.approx(15, abs=0.2)
    # What the full run would take, and the command for it.
    assert "`base` in full (10,000 steps" in plan.notes[0]
    assert "--preset base" in plan.notes[0]
    assert "warm-up shortened" in plan.notes[1]
    # Measuring leaves the random numbers of the run alone.
    assert torch.equal(torch.get_rng_state(), state)


def test_a_plan_keeps_to_its_minutes() -> None:
    plan = make_plan({"preset": "tiny", "batch_size": 2, "minutes": 2.0}, LARGE_TEXT, CPU)
    assert plan.seconds is not None
    assert 60 < plan.seconds <= 120
    steps = plan.train.max_iters
    assert steps > 1
    assert plan.train.eval_interval == min(500, -(-steps // 10))
    assert plan.train.warmup_iters == min(50, steps // 10)
    assert plan.compiled is False  # too short to gain by it


def test_given_flags_are_kept_and_the_rest_is_the_presets() -> None:
    given: dict[str, Any] = {
        "preset": "tiny", "max_iters": 10_000_000, "eval_interval": 33, "batch_size": 1,
        "dropout": 0.3, "learning_rate": 5e-3, "minutes": 1.0,
    }  # fmt: skip
    plan = make_plan(given, LARGE_TEXT, CPU)
    kept = {name: value for name, value in given.items() if name != "dropout"}
    assert kept.items() <= vars(plan.train).items()
    assert plan.model.dropout == 0.3
    assert plan.notes == ()
    tiny = PRESETS["tiny"].train
    for name in ("grad_accum", "min_lr", "warmup_iters", "weight_decay", "grad_clip", "seed"):
        assert getattr(plan.train, name) == getattr(tiny, name)
    # So long a run gains by compilation, where there is a compiler.
    if sys.platform == "linux":
        assert plan.compiled is (shutil.which("g++") is not None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 minutes"), (5399, "90 minutes"), (5400, "1.5 hours")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
