"""Mistakes of a user, and a full disk: one line, and nothing lost."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture
def file_size_limit() -> Any:
    """Files cannot grow over a limit: what a full disk looks like from inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_keeps_the_earlier_state(
    workspace: Any, file_size_limit: Callable[[int], None], content_of: Any
) -> None:
    assert workspace.train(max_iters=40, interrupt_at=("step 10:",)).code == 130
    before = content_of(workspace.models)
    size = len(before["last.pt"])
    file_size_limit(size // 2)
    outcome = workspace.stage3("--resume")
    file_size_limit(-1)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "last.pt" in outcome.err
    after = content_of(workspace.models)
    assert after.keys() == before.keys()
    assert after["last.pt"] == before["last.pt"]
    assert workspace.stage3("--resume").code == 0


# -------------------------------------------------------------------------------- bad input


def test_wrong_flags_are_told_all_at_once(workspace: Any, content_of: Any) -> None:
    before = content_of(workspace.root)
    outcome = workspace.stage3(
        *("--preset", "huge", "--max-iters", 0, "--batch-size", "many", "--dropout", 1),
        *("--learning-rate", "nan", "--compile", "maybe", "--min-lr", 5, "--speed", "--seed", -1),
    )
    assert outcome.code == 2
    for wrong in (
        "--preset huge: must be one of auto, tiny, base, tuned, medium, large",
        "--max-iters 0: must be at least 1",
        "--batch-size many: must be a whole number",
        "--dropout 1.0: must be at least 0 and below 1",
        "--learning-rate nan: must be above 0",
        "--compile maybe: must be one of auto, on, off",
        "--seed -1: must be at least 0",
        "--speed: there is no such flag",
    ):
        assert sum(wrong in line for line in outcome.complaints) == 1, wrong
    assert all(line.startswith("error: --") for line in outcome.complaints)
    assert content_of(workspace.root) == before


def test_the_peak_of_the_preset_bounds_the_lowest_rate(workspace: Any) -> None:
    # tiny peaks at 2e-3, base at 3e-4: 5e-4 is fine for the one and not for the other.
    workspace.begin()  # so that stage 3 stops before it measures anything
    tiny = workspace.stage3("--preset", "tiny", "--min-lr", 5e-4)
    base = workspace.stage3("--preset", "base", "--min-lr", 5e-4)
    assert "--min-lr" not in tiny.err
    assert "--min-lr 0.0005: must be at most --learning-rate (0.0003)" in base.err


@pytest.mark.parametrize("missing", ["data", "tokenizer"])
def test_missing_inputs(missing: str, workspace: Any) -> None:
    moved = workspace.root / missing
    moved.rename(workspace.root / "elsewhere")
    outcome = workspace.stage3("--preset", "tiny")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert f"{missing}/" in outcome.err
    assert "is not there" in outcome.err
    assert not workspace.models.exists()


@pytest.mark.parametrize("lines", [0, 1, 10])
def test_a_validation_split_shorter_than_a_row(
    lines: int, workspace: Any, corpus_writer: Any, sentences: Any
) -> None:
    corpus_writer(workspace.data, sentences(400, 1), sentences(60, 2)[:lines])
    outcome = workspace.stage3("--preset", "tiny")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "the validation split has" in outcome.err
    assert "a row takes 257" in outcome.err
    assert "--val-fraction" in outcome.err
    assert not workspace.models.exists()


def test_an_edited_corpus_is_refused(workspace: Any) -> None:
    with (workspace.data / "val.txt").open("a", encoding="utf-8") as file:
        file.write("Өстәлгән җөмлә.\n")
    outcome = workspace.stage3("--preset", "tiny")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "val.txt is not what" in outcome.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there(workspace: Any) -> None:
    outcome = workspace.stage3("--preset", "tiny", "--device", "cuda")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "--device cuda" in outcome.err
    assert not workspace.models.exists()
