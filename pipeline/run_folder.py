"""models/: whose run lies there, whether it may be replaced, whether it can go on.

run.json is written before the first step and again at the end. It holds what was asked for, what
was decided, the hashes of corpus and tokenizer, and at the end the result.
"""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch

from config import ConfigError, ModelConfig, TrainConfig, flag_name
from pipeline.device import Compute
from pipeline.errors import TrainingError
from pipeline.files import read_json, shown, write_json
from pipeline.plan import Plan
from pipeline.training_text import TrainingText

# What may differ when a run goes on: how it is computed, not what is learnt. The two numbers of
# the batch may change if their product does not.
_COMPUTING = ("device", "dtype", "compile", "grad_checkpoint", "batch_size", "grad_accum")
_NOT_THE_RUN = ("data_dir", "tokenizer_dir", "out_dir", "resume", "force")


_RECORDED = {"asked", "compiled", "corpus", "device", "finished", "hashes", "train_tokens"}


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.best = path / "best_model.pt"
        self.last = path / "last.pt"
        self.metrics = path / "metrics.jsonl"
        self.curve = path / "loss_curve.png"

    def refuse_if_used(self) -> None:
        """Raise TrainingError if a run, or a model someone put there, would be overwritten."""
        there = next((p for p in (self.run, self.last, self.best) if p.exists()), None)
        if there is not None:
            raise TrainingError(
                f"{shown(there)} belongs to an earlier run, which is kept. Go on with it: "
                "--resume; overwrite it: --force; or name another folder: --out-dir DIR"
            )

    def begin(self, record: dict[str, Any]) -> None:
        """Move what an earlier run left to replaced/, and write down the new one."""
        earlier = [
            p for p in (self.run, self.last, self.best, self.metrics, self.curve) if p.exists()
        ]
        for path in earlier:
            (self.path / "replaced").mkdir(exist_ok=True)
            path.replace(self.path / "replaced" / path.name)
        write_json(self.run, record)

    def read(self) -> dict[str, Any]:
        """The record of the run to go on with. Raises TrainingError if none was ever begun."""
        if not self.run.is_file():
            raise TrainingError(
                f"no run was begun in {shown(self.path)}/, so there is nothing to resume. Start "
                "one without --resume"
            )
        if self.best.exists() and not self.last.exists():
            raise TrainingError(
                f"{shown(self.last)} is gone, and {shown(self.best)} alone is not enough to go "
                "on. Bring it back, or start anew with --force, which keeps the model in replaced/"
            )
        record = read_json(self.run)
        if not _is_ours(record):
            raise TrainingError(
                f"{shown(self.run)} was not written by this 03_train.py. Start anew with --force"
            )
        return record

    def saved(self) -> str:
        """In words, what a run that stops now leaves behind."""
        if self.last.is_file():
            return f"The last good state is kept in {shown(self.last)}."
        return "Nothing had been saved yet."


def _is_ours(record: dict[str, Any]) -> bool:
    """Whether a record has what 03_train.py writes and reads again."""
    try:
        train, _ = TrainConfig(**record["train"]), ModelConfig(**record["model"])
        hashes = record["hashes"]
        return (
            record.keys() >= _RECORDED
            and record["train"].keys() == vars(train).keys() - set(_NOT_THE_RUN)
            and record["model"].keys() == vars(ModelConfig()).keys()
            and train.eval_interval is not None
            and isinstance(record["asked"], dict)
            and isinstance(record.get("versions", {}), dict)
            and all(
                isinstance(hashes[name], str)
                for name in ("training text", "validation text", "tokenizer")
            )
        )
    except (KeyError, TypeError, AttributeError, OverflowError, ConfigError):
        return False


def record_of(
    plan: Plan, given: dict[str, Any], text: TrainingText, compute: Compute, processes: int
) -> dict[str, Any]:
    """What run.json says of a run that begins: asked for, decided, from what, on what."""
    decided = {
        name: value
        for name, value in dataclasses.asdict(plan.train).items()
        if name not in _NOT_THE_RUN
    }
    return {
        "asked": {k: v for k, v in given.items() if k not in _NOT_THE_RUN},
        "train": decided,
        "model": dataclasses.asdict(plan.model),
        "compiled": plan.compiled,
        "corpus": text.corpus.name,
        "train_tokens": len(text.train),
        "hashes": text.hashes,
        **_circumstances(compute, processes),
        "finished": False,
    }


def _circumstances(compute: Compute, processes: int) -> dict[str, Any]:
    """What the last bits of a run depend on beside its text and its plan."""
    return {
        "device": compute.describe(),
        "processes": processes,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def changes_since(record: dict[str, Any], compute: Compute, processes: int) -> list[str]:
    """In words, why bitwise equality is not promised to a run that goes on."""
    here = _circumstances(compute, processes)
    now, then = (of | of.get("versions", {}) for of in (here, record))
    return [
        f"{name} was {then[name]} and is {now[name]}, so it may not be bit for bit the same run"
        for name in ("device", "processes", "torch", "numpy")
        if name in then and then[name] != now[name]
    ]


def resumed_plan(record: dict[str, Any], given: dict[str, Any], hashes: dict[str, str]) -> Plan:
    """The plan of a run that goes on. Raises ConfigError if flags or text do not belong to it."""
    problems = _problems_of_resuming(record, given, hashes)
    if problems:
        raise ConfigError(problems)
    changed = {k: given[k] for k in _COMPUTING if k in given and given[k] != record["train"][k]}
    train = TrainConfig(**{**record["train"], **changed})
    compiled = record["compiled"] if train.compile == "auto" else train.compile == "on"
    notes: tuple[str, ...] = ()
    if changed:
        notes = ("computed in another way than before, so not bit for bit the same run",)
    return Plan(ModelConfig(**record["model"]), train, compiled, None, notes)


def _problems_of_resuming(
    record: dict[str, Any], given: dict[str, Any], hashes: dict[str, str]
) -> list[str]:
    problems = []
    decided = record["train"] | {"dropout": record["model"]["dropout"]}
    for name, value in given.items():
        if name in _NOT_THE_RUN or name in _COMPUTING:
            continue
        if value not in (decided[name], record["asked"].get(name)):
            problems.append(
                f"{flag_name(name)} {value}: the run to resume has {decided[name]}. Leave the flag "
                "out, or start anew with --force"
            )
    rows = decided["batch_size"] * decided["grad_accum"]
    batch_size = given.get("batch_size", decided["batch_size"])
    grad_accum = given.get("grad_accum", decided["grad_accum"])
    if batch_size * grad_accum != rows:
        problems.append(
            f"--batch-size {batch_size} with --grad-accum {grad_accum}: the run to resume has "
            f"{rows} rows a step. Any two numbers with this product will do"
        )
    for what, sha256 in hashes.items():
        if record["hashes"][what] != sha256:
            problems.append(
                f"the {what} is not the one this run began with (sha256 {sha256[:12]}, then "
                f"{record['hashes'][what][:12]}). Bring that back, or start anew with --force"
            )
    return problems
