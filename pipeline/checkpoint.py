"""Checkpoint files: tensors and plain values only, saved atomically, read with weights_only.

best_model.pt   {"format", "model", "config", "tokenizer_sha256", "step", "val_loss", "card"}
last.pt         the same but val_loss, and what going on exactly needs: optimizer, scaler, and the
                counters of TrainingState. Position in the text and dropout follow from the step.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from config import ConfigError, ModelConfig
from model import GPT
from pipeline.errors import CheckpointError, ModelNotFoundError
from pipeline.files import atomic_write, shown
from pipeline.optimizer import load_state
from pipeline.tokenizer import valid_unicode

FORMAT = 1
_NEEDED = {"model", "config", "tokenizer_sha256", "step", "card"}


@dataclass
class TrainingState:
    """Where a run stands after `step` steps."""

    step: int = 0
    best_val_loss: float = math.inf
    best_step: int = 0
    evaluations_since_best: int = 0
    seconds: float = 0.0

    def is_sound(self) -> bool:
        """Whether the counters are numbers that a run can come to."""
        counters = (self.step, self.best_step, self.evaluations_since_best)
        return (
            all(isinstance(counter, int) and 0 <= counter <= self.step for counter in counters)
            and isinstance(self.best_val_loss, float)
            and isinstance(self.seconds, float)
        )

    def count_evaluation(self, val_loss: float) -> None:
        """Remember whether this was the best evaluation so far."""
        self.evaluations_since_best += 1
        if val_loss < self.best_val_loss:
            self.best_val_loss, self.best_step = val_loss, self.step
            self.evaluations_since_best = 0


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one."""
    with atomic_write(path) as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:
            # PyTorch's zip writer wraps what the file raised: a full disk, or Ctrl-C in a write.
            if isinstance(error.__context__, OSError | KeyboardInterrupt):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours onto the CPU.

    Raises ModelNotFoundError if there is none and CheckpointError if it is damaged, foreign or
    of a later format.
    """
    if not path.is_file():
        raise ModelNotFoundError(
            f"{shown(path)} is not there. Train one with: bash run_pipeline.sh"
        )
    with path.open("rb") as file:  # what goes wrong from here on is what the file holds
        try:
            # PyTorch does not look at the checksums that it writes.
            with zipfile.ZipFile(file) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickles that are refused anyway
                content = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception:  # zipfile, pickle and PyTorch each have their own
            raise CheckpointError(
                f"{shown(path)} cannot be read: it is damaged or no PyTorch checkpoint. Copy it "
                "anew, or train one with: python 03_train.py --force"
            ) from None
    if not (isinstance(content, dict) and content.keys() >= _NEEDED and _has_right_types(content)):
        raise CheckpointError(
            f"{shown(path)} is a checkpoint of another program. This one reads what 03_train.py "
            "writes"
        )
    written = content.get("format", 0)
    if not isinstance(written, int) or written not in range(FORMAT + 1):
        raise CheckpointError(
            f"{shown(path)} has format {written}, and this version reads up to {FORMAT}. "
            "Update the project"
        )
    return content


def _has_right_types(content: dict[str, Any]) -> bool:
    """Whether the values that are compared and printed are numbers and texts."""
    card = content["card"]
    return (
        isinstance(card, dict)
        and isinstance(content["step"], int)
        and isinstance(content["tokenizer_sha256"], str)
        and all(
            isinstance(number, int | float) and _is_plain(number)
            for number in (
                content["step"], content.get("val_loss", 0.0), card.get("unigram_loss", 0.0)
            )
        )
    )  # fmt: skip


def _plain(card: dict[str, Any]) -> dict[str, Any]:
    """What of a card can be shown: texts, numbers, and groups of them."""
    groups = {
        name: {key: value for key, value in group.items() if _is_plain(value)}
        for name, group in card.items()
        if isinstance(group, dict)
    }
    return {name: value for name, value in card.items() if _is_plain(value)} | groups


def _is_plain(value: object) -> bool:
    """Whether this is text that can be encoded, or a number that a float can hold."""
    if isinstance(value, str):
        return valid_unicode(value) == value
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def model_content(
    model: GPT, tokenizer_sha256: str, step: int, card: dict[str, Any]
) -> dict[str, Any]:
    """What a checkpoint needs so that the model can be built again from it alone."""
    return {
        "model": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        "config": dataclasses.asdict(model.config),
        "tokenizer_sha256": tokenizer_sha256,
        "step": step,
        "card": card,
    }


def build_model(content: dict[str, Any], path: Path) -> GPT:
    """The model of a checkpoint, in float32 on the CPU. Raises CheckpointError if unfit."""
    try:
        config = ModelConfig(**content["config"])
        with torch.device("meta"):  # costs no memory, whatever the configuration says
            wanted = {name: tensor.shape for name, tensor in GPT(config).state_dict().items()}
        if wanted != {name: tensor.shape for name, tensor in content["model"].items()}:
            raise RuntimeError("shapes differ")
        model = GPT(config)
        model.load_state_dict(content["model"])
        model.card = _plain(content["card"]) | {
            "step": content["step"],
            **({"val_loss": content["val_loss"]} if "val_loss" in content else {}),
            "tokenizer_sha256": content["tokenizer_sha256"],
        }
    except (TypeError, AttributeError, RuntimeError, ConfigError):
        raise CheckpointError(
            f"{shown(path)} holds a network of another shape than it says. Copy it anew, or train "
            "one with: python 03_train.py --force"
        ) from None
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise CheckpointError(
            f"{shown(path)} holds weights that are no numbers. Train again with: "
            "python 03_train.py --force"
        )
    return model


def resume_content(
    state: TrainingState,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> dict[str, Any]:
    """What last.pt holds beside the model."""
    return {
        "state": dataclasses.asdict(state),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }


def resume_from(
    path: Path,
    model: GPT,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    tokenizer_sha256: str,
) -> TrainingState:
    """Put model, optimizer and scaler back as `resume_content` found them."""
    content = load_checkpoint(path)
    try:
        if content["config"] != dataclasses.asdict(model.config):
            raise ValueError("another network")
        if content["tokenizer_sha256"] != tokenizer_sha256:
            raise ValueError("another tokenizer")
        if not all(bool(weights.isfinite().all()) for weights in content["model"].values()):
            raise ValueError("weights that are no numbers")
        model.load_state_dict(content["model"])
        load_state(optimizer, content["optimizer"])
        if content["scaler"]:  # a run that moved to float16 starts with the scaler's default
            scaler.load_state_dict(content["scaler"])
        state = TrainingState(**content["state"])
        if state.step != content["step"] or not state.is_sound():
            raise ValueError("counters that contradict each other")
        return state
    except torch.OutOfMemoryError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
        raise CheckpointError(
            f"{shown(path)} does not fit the run that run.json beside it describes. Start anew "
            "with --force"
        ) from None
