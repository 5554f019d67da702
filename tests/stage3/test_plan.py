"""The plan that is made from a measured step."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from config import PRESETS, ConfigError
from pipeline.device import Compute, choose_compute
from pipeline.plan import (
    SAFETY,
    SECONDS_BESIDE_STEPS,
    Plan,
    Speed,
    Task,
    duration,
    make_plan,
    use_compile,
    with_length,
)

CPU = Compute(torch.device("cpu"), torch.float32, "a test")
LARGE_TEXT = Task(train_tokens=20_000_000, val_tokens=100, vocab_size=300, is_sample=False)


def epochs(plan: Plan, task: Task) -> float:
    rows = plan.train.max_iters * plan.train.batch_size * plan.train.grad_accum
    return rows * plan.model.block_size / task.train_tokens


@pytest.mark.slow
def test_auto_gives_a_small_text_the_small_model_and_fifteen_epochs(tmp_path: Path) -> None:
    task = Task(train_tokens=9_000, val_tokens=1_000, vocab_size=300, is_sample=True)
    given: dict[str, Any] = {"preset": "auto", "minutes": 600.0, "out_dir": tmp_path / "my models"}
    plan = make_plan(given, task, choose_compute("cpu"))
    assert plan.train.preset == "tiny"
    assert (plan.model.n_layer, plan.model.n_embd, plan.model.vocab_size) == (4, 256, 300)
    assert epochs(plan, task) == pytest.approx(15, abs=0.2)
    # What the full run would take, and the command for it.
    assert "`base` in full (10,000 steps" in plan.notes[0]
    assert f"--preset base --out-dir '{tmp_path}/my models' --force" in plan.notes[0]
    assert "warm-up shortened" in plan.notes[2]


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
        "dropout": 0.3, "learning_rate": 5e-3, "compile": "off",
    }  # fmt: skip
    plan = make_plan(given, LARGE_TEXT, CPU)
    kept = {name: value for name, value in given.items() if name != "dropout"}
    assert kept.items() <= vars(plan.train).items()
    assert plan.model.dropout == 0.3
    assert plan.notes == ()
    tiny = PRESETS["tiny"].train
    for name in ("grad_accum", "warmup_iters", "weight_decay", "grad_clip", "seed"):
        assert getattr(plan.train, name) == getattr(tiny, name)


@pytest.mark.parametrize(("steps", "compiled"), [(10, False), (1_000_000, True)])
def test_only_a_long_run_is_compiled_by_itself(steps: int, compiled: bool) -> None:
    train = dataclasses.replace(PRESETS["tiny"].train, max_iters=steps)
    speed = Speed(train=1e-4, step=0.0, evaluation=1e-4, start=1.0, compiled=False)
    possible = sys.platform == "linux" and shutil.which("g++") is not None
    possible = possible and " " not in torch.__file__
    decision = use_compile(train, PRESETS["tiny"].model, CPU, speed)
    assert decision is (compiled and possible)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 minutes"), (5399, "90 minutes"), (5400, "1.5 hours")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_two_ways_to_fix_the_length_contradict() -> None:
    with pytest.raises(ConfigError, match="--minutes and --max-iters"):
        make_plan({"preset": "tiny", "minutes": 1.0, "max_iters": 5}, LARGE_TEXT, CPU)


def test_a_large_validation_split_leaves_most_of_the_time_to_training() -> None:
    """An evaluation of 20 s in a minute's run: one of them, not ten."""
    speed = Speed(train=1e-4, step=0.0, evaluation=1e-4, start=1.0, compiled=False)
    task = Task(train_tokens=20_000_000, val_tokens=200_000, vocab_size=300, is_sample=False)
    train = dataclasses.replace(PRESETS["tiny"].train, minutes=5.0)
    model = PRESETS["tiny"].model
    planned = with_length(train, model, task, speed)
    assert planned.eval_interval is not None
    tokens = planned.max_iters * planned.batch_size * planned.grad_accum * model.block_size
    evaluations = -(-planned.max_iters // planned.eval_interval)
    assert evaluations >= 1
    assert tokens * speed.train > 0.7 * 5 * 60 * SAFETY
    assert tokens * speed.train + evaluations * 22 <= 5 * 60


def test_processes_share_the_rows_and_not_the_optimizers_step() -> None:
    """Eight rows of 256 tokens, 1.6 s of them for one process, and 0.7 s for the step."""
    train = dataclasses.replace(PRESETS["tuned"].train, minutes=10.0, eval_interval=10**6)
    model = PRESETS["tuned"].model
    alone = Speed(train=1.6 / 2048, step=0.7, evaluation=0.0, start=0.0, compiled=False)
    budget = 10 * 60 * SAFETY - SECONDS_BESIDE_STEPS
    for processes, step_seconds in ((1, 2.3), (4, 1.1)):
        steps = with_length(train, model, LARGE_TEXT, alone.shared_by(processes)).max_iters
        assert steps == pytest.approx(budget / step_seconds, rel=0.01)
