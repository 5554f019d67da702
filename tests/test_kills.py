"""Killed at random moments, every stage ends with what an undisturbed one makes.

`python -m tests.kills` does the same a hundred times, on the real presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kills import Kills, kill

TIMES = 10


def check(kills: Kills) -> None:
    assert kills.count == TIMES
    assert kills.problems == []
    assert kills.while_writing.total() > 0


def test_stage_1_killed_at_random_moments(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    lines = (f"{number:,} китап безнең мәктәп китапханәсендә тора.\n" for number in range(60_000))
    text.write_text("".join(lines), encoding="utf-8")
    (tmp_path / "work").mkdir()
    check(kill(1, tmp_path / "work", TIMES, 1, "--input", str(text)))


def test_stage_2_killed_at_random_moments(
    tmp_path: Path, corpus_writer: Any, sentences: Any
) -> None:
    corpus_writer(tmp_path / "work" / "data", sentences(40_000, seed=1), sentences(400, seed=2))
    check(kill(2, tmp_path / "work", TIMES, 2))


def test_stage_3_killed_at_random_moments(tmp_path: Path, prepared: Any) -> None:
    workspace = prepared.copy(tmp_path / "work")
    workspace.begin({"n_layer": 4, "n_embd": 256}, max_iters=120, eval_interval=4)
    kills = kill(3, workspace.root, TIMES, 3, "--device", "cpu")
    check(kills)
    assert max(kills.steps) > 0  # it was at work when it was killed
