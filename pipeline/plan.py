"""How long a run will be: from the flags, or made from a measured step."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from config import PRESETS, PROJECT_DIR, ConfigError, ModelConfig, Preset, TrainConfig
from model import GPT
from pipeline.compiled import LossFunction
from pipeline.device import Compute
from pipeline.evaluate import total_nats
from pipeline.files import shown
from pipeline.flags import as_argv
from pipeline.optimizer import make_optimizer

# The plan of `--preset auto`.
FULL_RUN_AT_MOST = 60.0  # minutes that `base` in full may take
ACCELERATOR_MINUTES = 45.0  # else `base` for so long on an accelerator
CPU_MINUTES = 9.0  # or `tiny` for so long on a CPU
MOST_EPOCHS = 15  # repeating a text more often teaches little
FEWEST_STEPS_OF_BASE = 500  # a text too short for these is for `tiny` on any device

# Speeds vary while a machine does other things: plan for a little less than there is.
SAFETY = 0.9
SECONDS_BESIDE_STEPS = 6.0  # first import of matplotlib, first passes, saving
SECONDS_PER_EVALUATION = 2.0  # checkpoint, curve and sample of one evaluation
EVALUATION_SHARE = 0.2  # of the time, at most
SECONDS_OF_MEASURING = 2.0
# Compiling costs a CPU 20 s (`tiny`) to 60 s and makes a step 1.2 to 1.4 times as fast.
COMPILE_FROM = 200.0  # seconds


@dataclass(frozen=True)
class Speed:
    """Seconds a training token, an optimizer's step, a validation token and the start take."""

    train: float
    step: float
    evaluation: float
    start: float
    compiled: bool

    def shared_by(self, processes: int) -> Speed:
        """As if so many processes shared the rows without loss; each takes the whole step."""
        train, evaluation = self.train / processes, self.evaluation / processes
        return dataclasses.replace(self, train=train, evaluation=evaluation)


@dataclass(frozen=True)
class Plan:
    """A run with everything decided."""

    model: ModelConfig
    train: TrainConfig
    compiled: bool
    seconds: float | None  # expected; None for a run that goes on
    notes: tuple[str, ...]

    @property
    def rows_per_step(self) -> int:
        return self.train.batch_size * self.train.grad_accum

    @property
    def tokens_per_step(self) -> int:
        return self.rows_per_step * self.model.block_size

    def epochs(self, train_tokens: int) -> float:
        """How often the run goes through so many tokens."""
        return self.train.max_iters * self.tokens_per_step / train_tokens


@dataclass(frozen=True)
class Task:
    """What there is to train on."""

    train_tokens: int
    val_tokens: int
    vocab_size: int
    is_sample: bool
    processes: int = 1  # that share the rows of a step


def measure_speed(
    config: ModelConfig, train: TrainConfig, compute: Compute, rows: int, compiled: bool
) -> Speed:
    """Time the training and the evaluation of a scratch model, some seconds of each."""
    model = GPT(config).to(compute.device)
    model.grad_checkpoint = train.grad_checkpoint
    loss_of = LossFunction(model, compiled)
    optimizer = make_optimizer(model, train, compute)
    idx = torch.randint(4, config.vocab_size, (rows, config.block_size))

    def gradients() -> None:
        with compute.autocast():
            loss = loss_of(idx.to(compute.device), idx.to(compute.device))
        loss.backward()  # type: ignore[no-untyped-call]
        compute.synchronize()

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        compute.synchronize()

    began = time.perf_counter()
    gradients()
    step()
    start = time.perf_counter() - began
    training, stepping, steps = 0.0, 0.0, 0
    while steps < 2 or training + stepping < SECONDS_OF_MEASURING:
        started = time.perf_counter()
        gradients()
        between = time.perf_counter()
        step()
        training += between - started
        stepping += time.perf_counter() - between
        steps += 1
    total_nats(model, idx, idx, compute)
    evaluating = time.perf_counter()
    total_nats(model, idx, idx, compute)
    evaluation = (time.perf_counter() - evaluating) / idx.numel()
    token = training / (steps * idx.numel())
    return Speed(token, stepping / steps, evaluation, start, loss_of.compiled)


def make_plan(given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """Decide preset, steps, warm-up, evaluations and compilation.

    `given`: the flags that were given, by field name. Raises ConfigError if they contradict.
    """
    if "minutes" in given and "max_iters" in given:
        raise ConfigError(["--minutes and --max-iters: both fix the length; give one of them"])
    name = given.get("preset", "base")
    if name == "auto":
        return _automatic_plan(given, task, compute)
    return _complete(PRESETS[name], given, task, compute)


def _automatic_plan(given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """`base` in full if that is quick and the text is long enough; else what time allows."""
    given = {name: value for name, value in given.items() if name != "preset"}
    base, tiny = PRESETS["base"], PRESETS["tiny"]
    on_cpu = compute.device.type == "cpu"
    # On a CPU the answer is plain without waiting a minute for a compiled step.
    full = _complete(base, {"compile": "off"} if on_cpu else {}, task, compute)
    assert full.seconds is not None
    epochs = full.epochs(task.train_tokens)
    folders = as_argv(given, TrainConfig, only=("data_dir", "tokenizer_dir", "out_dir"))
    script = [shown(Path(sys.executable)), shown(PROJECT_DIR / "03_train.py")]
    notes = [
        f"`base` in full ({full.train.max_iters:,} steps, {epochs:,.1f} epochs) would take about "
        f"{duration(full.seconds)} here: "
        f"{shlex.join([*script, '--preset', 'base', *folders, '--force'])}"
    ]
    fits = full.seconds <= 60 * FULL_RUN_AT_MOST and epochs <= MOST_EPOCHS
    if fits and not task.is_sample:
        return _complete(base, given, task, compute)

    is_small = task.is_sample or _steps_in_epochs(full, task) < FEWEST_STEPS_OF_BASE
    preset, minutes = (tiny, CPU_MINUTES) if on_cpu or is_small else (base, ACCELERATOR_MINUTES)
    if "max_iters" in given:
        plan = _complete(preset, given, task, compute)
    else:
        plan = _complete(preset, {"minutes": minutes} | given, task, compute)
        most_steps = _steps_in_epochs(plan, task)
        if plan.train.max_iters > most_steps:
            capped = {name: value for name, value in given.items() if name != "minutes"}
            plan = _complete(preset, capped | {"max_iters": most_steps}, task, compute)
            notes.append(f"{MOST_EPOCHS} times through the text are enough here")
    return dataclasses.replace(plan, notes=(*notes, *plan.notes))


def _complete(preset: Preset, given: dict[str, Any], task: Task, compute: Compute) -> Plan:
    """The preset with the flags that were given, and what follows from the measured speed."""
    dropout = given.get("dropout", preset.model.dropout)
    model = dataclasses.replace(preset.model, vocab_size=task.vocab_size, dropout=dropout)
    train = dataclasses.replace(preset.train, **{k: v for k, v in given.items() if k != "dropout"})
    # A whole micro-batch of `base` takes a CPU seconds: four rows tell enough.
    rows = min(4, train.batch_size) if compute.device.type == "cpu" else train.batch_size
    speed = measure_speed(model, train, compute, rows, compiled=False).shared_by(task.processes)
    train = with_length(train, model, task, speed)
    if use_compile(train, model, compute, speed):
        print("  Compiling, to measure the step as it will be (up to a minute on a CPU)")
        rows = train.batch_size
        speed = measure_speed(model, train, compute, rows, compiled=True).shared_by(task.processes)
        told = dataclasses.replace(train, eval_interval=given.get("eval_interval"))
        train = with_length(told, model, task, speed)
    train = dataclasses.replace(train, min_lr=train.last_lr)
    notes = []
    if train.max_iters < 10 * train.warmup_iters:
        warmup = train.max_iters // 10
        notes.append(f"warm-up shortened from {train.warmup_iters} steps to a tenth, {warmup}")
        train = dataclasses.replace(train, warmup_iters=warmup)
    plan = Plan(model, train, speed.compiled, None, tuple(notes))
    assert train.eval_interval is not None
    evaluations = -(-train.max_iters // train.eval_interval)
    seconds = (
        train.max_iters * _step_seconds(train, model, speed)
        + evaluations * _evaluation_seconds(task, speed)
        + speed.start
        + SECONDS_BESIDE_STEPS
    )
    return dataclasses.replace(plan, seconds=seconds)


def with_length(train: TrainConfig, model: ModelConfig, task: Task, speed: Speed) -> TrainConfig:
    """Steps and evaluations: as told, or as many as `minutes` hold."""
    step_seconds = _step_seconds(train, model, speed)
    evaluation_seconds = _evaluation_seconds(task, speed)
    if train.minutes is None:
        interval = train.eval_interval or max(1, min(500, -(-train.max_iters // 10)))
        return dataclasses.replace(train, eval_interval=interval)
    beside = SECONDS_BESIDE_STEPS + speed.start
    budget = max(0.0, train.minutes * 60 * SAFETY - beside)
    if train.eval_interval is not None:
        each = step_seconds + evaluation_seconds / train.eval_interval
        return dataclasses.replace(train, max_iters=max(1, int(budget / each)))
    # Ten evaluations, but no more than a fifth of the time for them.
    evaluations = max(1, min(10, int(EVALUATION_SHARE * budget / evaluation_seconds)))
    steps = max(1, int((budget - evaluations * evaluation_seconds) / step_seconds))
    interval = -(-steps // evaluations)
    return dataclasses.replace(train, max_iters=steps, eval_interval=interval)


def _step_seconds(train: TrainConfig, model: ModelConfig, speed: Speed) -> float:
    return train.batch_size * train.grad_accum * model.block_size * speed.train + speed.step


def _evaluation_seconds(task: Task, speed: Speed) -> float:
    return speed.evaluation * task.val_tokens + SECONDS_PER_EVALUATION


def use_compile(train: TrainConfig, model: ModelConfig, compute: Compute, speed: Speed) -> bool:
    if train.compile != "auto":
        return train.compile == "on"
    if compute.device.type == "cpu":
        has_compiler = sys.platform == "linux" and shutil.which("g++") is not None
        # PyTorch calls the compiler without quoting its own path.
        has_compiler = has_compiler and " " not in torch.__file__
        return has_compiler and train.max_iters * _step_seconds(train, model, speed) > COMPILE_FROM
    return compute.device.type == "cuda" and train.max_iters >= 1000


def _steps_in_epochs(plan: Plan, task: Task) -> int:
    """Steps that go MOST_EPOCHS times through the text."""
    return max(1, round(MOST_EPOCHS * task.train_tokens / plan.tokens_per_step))


def duration(seconds: float) -> str:
    """A time in words a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
