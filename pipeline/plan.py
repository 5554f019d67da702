"""How long a run will be: from the flags, or made from a measured step."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from config import PRESETS, ModelConfig, Preset, TrainConfig
from model import GPT
from pipeline.compiled import loss_function
from pipeline.device import Compute
from pipeline.evaluate import total_nats

# The plan of `--preset auto`.
FULL_RUN_AT_MOST = 60.0  # minutes that `base` in full may take
ACCELERATOR_MINUTES = 45.0  # else `base` for so long on an accelerator
CPU_MINUTES = 5.0  # or `tiny` for so long on a CPU
MOST_EPOCHS = 15  # repeating a text more often teaches little
FEWEST_STEPS_OF_BASE = 500  # a text too short for these is for `tiny` on any device

# Speeds vary while a machine does other things: plan for a little less than there is.
SAFETY = 0.9
SECONDS_BESIDE_STEPS = 6.0  # first import of matplotlib, first passes, saving
SECONDS_PER_EVALUATION = 2.0  # checkpoint, curve and sample of one evaluation
COMPILE_FROM = 1200.0  # a run of so many seconds gains more by it


@dataclass(frozen=True)
class Speed:
    """Seconds a training token and a validation token take, measured here."""

    train: float
    evaluation: float


@dataclass(frozen=True)
class Plan:
    """A run with everything decided."""

    model: ModelConfig
    train: TrainConfig
    compiled: bool
    seconds: float | None  # expected; None for a run that goes on
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What there is to train on."""

    train_tokens: int
    val_tokens: int
    vocab_size: int
    is_sample: bool


def measure_speed(
    config: ModelConfig, compute: Compute, rows: int, compiled: bool = False, seconds: float = 3.0
) -> Speed:
    """Time the training and evaluation of a scratch model.

    The global random state is left as it was.
    """
    with torch.random.fork_rng():
        model = GPT(config).to(compute.device)
        loss_of = loss_function(model, compiled)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        idx = torch.randint(4, config.vocab_size, (rows, config.block_size))

        def step() -> None:
            with compute.autocast():
                loss = loss_of(idx.to(compute.device), idx.to(compute.device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            compute.synchronize()

        step()
        started, steps = time.perf_counter(), 0
        while steps < 2 or time.perf_counter() - started < seconds:
            step()
            steps += 1
        train = (time.perf_counter() - started) / (steps * idx.numel())
        total_nats(model, idx, idx, compute)
        started = time.perf_counter()
        total_nats(model, idx, idx, compute)
        return Speed(train, (time.perf_counter() - started) / idx.numel())


def make_plan(given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """Decide preset, steps, warm-up, evaluations and compilation.

    `given`: the flags that were given, by field name.
    """
    name = given.get("preset", "base")
    if name == "auto":
        return _automatic_plan(given, task, compute)
    return _complete(PRESETS[name], given, task, compute)


def _automatic_plan(given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """`base` in full if that is quick and the text is long enough; else what time allows."""
    given = {name: value for name, value in given.items() if name != "preset"}
    base, tiny = PRESETS["base"], PRESETS["tiny"]
    full = _complete(base, {"compile": "off"}, task, compute)
    assert full.seconds is not None
    epochs = full.train.max_iters * _step_tokens(full) / task.train_tokens
    note = (
        f"`base` in full ({full.train.max_iters:,} steps, {epochs:,.1f} epochs) would take about "
        f"{duration(full.seconds)} here: bash run_pipeline.sh --preset base --force"
    )
    fits = full.seconds <= 60 * FULL_RUN_AT_MOST and epochs <= MOST_EPOCHS
    if fits and not task.is_sample:
        return _complete(base, given, task, compute)

    is_small = task.is_sample or _steps_in_epochs(full, task) < FEWEST_STEPS_OF_BASE
    if compute.device.type == "cpu" or is_small:
        preset, minutes = tiny, CPU_MINUTES
    else:
        preset, minutes = base, ACCELERATOR_MINUTES
    if "max_iters" not in given:
        given = {"minutes": minutes} | given
    plan = _complete(preset, given, task, compute)
    most_steps = _steps_in_epochs(plan, task)
    if "max_iters" not in given and plan.train.max_iters > most_steps:
        plan = _complete(preset, given | {"max_iters": most_steps}, task, compute)
        note += f". {MOST_EPOCHS} times through the text are enough here"
    return dataclasses.replace(plan, notes=(note, *plan.notes))


def _complete(preset: Preset, given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """The preset with the flags that were given, and what follows from the measured speed."""
    dropout = given.get("dropout", preset.model.dropout)
    model = dataclasses.replace(preset.model, vocab_size=task.vocab_size, dropout=dropout)
    train = dataclasses.replace(preset.train, **{k: v for k, v in given.items() if k != "dropout"})
    rows = train.batch_size
    # A whole micro-batch of `base` takes a CPU seconds: four rows tell enough.
    speed = measure_speed(model, compute, min(4, rows) if compute.device.type == "cpu" else rows)
    step_seconds = speed.train * train.batch_size * train.grad_accum * model.block_size
    evaluation_seconds = speed.evaluation * task.val_tokens + SECONDS_PER_EVALUATION

    notes = []
    fixed_by_time = train.minutes is not None and "max_iters" not in given
    if fixed_by_time:
        steps = _steps_in(train, step_seconds, evaluation_seconds)
        train = dataclasses.replace(train, max_iters=steps)
    compiled = _use_compile(train, compute, step_seconds)
    if fixed_by_time and compiled:
        speed = measure_speed(model, compute, rows, compiled=True)
        step_seconds = speed.train * rows * train.grad_accum * model.block_size
        steps = _steps_in(train, step_seconds, evaluation_seconds)
        train = dataclasses.replace(train, max_iters=steps)
    if train.max_iters < 10 * train.warmup_iters:
        warmup = train.max_iters // 10
        notes.append(f"warm-up shortened from {train.warmup_iters} steps to a tenth, {warmup}")
        train = dataclasses.replace(train, warmup_iters=warmup)
    if train.eval_interval is None:
        train = dataclasses.replace(train, eval_interval=_evaluation_interval(train.max_iters))
    assert train.eval_interval is not None
    evaluations = -(-train.max_iters // train.eval_interval)
    seconds = train.max_iters * step_seconds + evaluations * evaluation_seconds
    return Plan(model, train, compiled, seconds + SECONDS_BESIDE_STEPS, tuple(notes))


def _evaluation_interval(max_iters: int) -> int:
    return max(1, min(500, -(-max_iters // 10)))


def _steps_in(train: TrainConfig, step_seconds: float, evaluation_seconds: float) -> int:
    """The steps that `train.minutes` hold together with their evaluations."""
    assert train.minutes is not None
    budget = max(0.0, train.minutes * 60 * SAFETY - SECONDS_BESIDE_STEPS)
    if train.eval_interval is not None:
        return max(1, int(budget / (step_seconds + evaluation_seconds / train.eval_interval)))
    steps = max(1, int((budget - 10 * evaluation_seconds) / step_seconds))
    if steps > 5000:  # evaluated each 500 steps
        steps = int(budget / (step_seconds + evaluation_seconds / 500))
    return steps


def _use_compile(train: TrainConfig, compute: Compute, step_seconds: float) -> bool:
    if train.compile != "auto":
        return train.compile == "on"
    if compute.device.type == "cpu":
        has_compiler = sys.platform == "linux" and shutil.which("g++") is not None
        return has_compiler and train.max_iters * step_seconds > COMPILE_FROM
    return compute.device.type == "cuda" and train.max_iters >= 1000


def _step_tokens(plan: Plan) -> int:
    return plan.train.batch_size * plan.train.grad_accum * plan.model.block_size


def _steps_in_epochs(plan: Plan, task: Task) -> int:
    """Steps that go MOST_EPOCHS times through the text."""
    return max(1, round(MOST_EPOCHS * task.train_tokens / _step_tokens(plan)))


def duration(seconds: float) -> str:
    """A time in words a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
