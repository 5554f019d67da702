"""The record of a run: models/metrics.jsonl and models/loss_curve.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.files import atomic_write, errors_name

Row = dict[str, Any]


class Metrics:
    """The rows of metrics.jsonl, a line each, written as soon as they are added."""

    def __init__(self, path: Path, first_step: int) -> None:
        """Go on after `first_step` steps: later rows, of work that was lost, are dropped."""
        self.path = path
        self.rows: list[Row] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            rows = (_row_of(line) for line in lines)
            self.rows = [row for row in rows if row is not None and row["step"] <= first_step]
        with atomic_write(path) as file:
            file.write("".join(map(_as_line, self.rows)).encode("utf-8", "replace"))

    def add(self, row: Row) -> None:
        self.rows.append(row)
        with (
            errors_name(self.path),
            self.path.open("a", encoding="utf-8", newline="\n") as file,
        ):
            file.write(_as_line(row))


def _row_of(line: str) -> Row | None:
    """The row in a line; None where a crash has cut it short, or a hand has changed it."""
    try:
        row = json.loads(line)
        drawn = [row["step"], row["train_loss"], row["val_loss"] or 0.0]
        return row if all(isinstance(number, int | float) for number in drawn) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _as_line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"


def draw_loss_curve(rows: list[Row], path: Path, unigram_loss: float) -> None:
    """Training and validation loss over the steps, with guessing by frequency as a line."""
    from matplotlib.figure import Figure  # slow to import, and needed only here

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([r["step"] for r in rows], [r["train_loss"] for r in rows], lw=0.8, label="training")
    evaluated = [r for r in rows if r["val_loss"] is not None]
    axes.plot(
        [r["step"] for r in evaluated],
        [r["val_loss"] for r in evaluated],
        marker="o",
        ms=3,
        label="validation",
    )
    axes.axhline(unigram_loss, color="grey", ls=":", label="unigram")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats a token")
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
