"""What may differ when a run goes on, and what may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from config import TrainConfig


@pytest.fixture
def half_way(workspace: Any) -> Any:
    """A run of 20 steps that was stopped after 11."""
    outcome = workspace.train({"dropout": 0.0}, max_iters=20, interrupt_at=("step 10:",))
    assert outcome.code == 130
    return workspace


def test_the_micro_batch_may_change_if_the_product_stays(
    half_way: Any, prepared: Any, tmp_path: Path
) -> None:
    whole = prepared.copy(tmp_path / "whole")
    assert whole.train({"dropout": 0.0}, max_iters=20).code == 0
    outcome = half_way.stage3("--resume", "--batch-size", 2, "--grad-accum", 2)
    assert outcome.code == 0, outcome.err
    assert "Note: computed in another way than before" in outcome.out
    assert "2 rows x 2 x 32 = 128 tokens" in outcome.out
    for one, other in zip(half_way.metrics, whole.metrics, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_arithmetic_may_change(dtype: str, half_way: Any) -> None:
    outcome = half_way.stage3("--resume", "--dtype", dtype)
    assert outcome.code == 0, outcome.err
    assert "Note: computed in another way than before" in outcome.out
    assert dtype in outcome.out
    assert half_way.metrics[-1]["step"] == 20


def test_a_scaler_may_fall_away(workspace: Any) -> None:
    settings: dict[str, Any] = {"max_iters": 20, "dtype": "float16"}
    assert workspace.train(**settings, interrupt_at=("step 10:",)).code == 130
    outcome = workspace.stage3("--resume", "--dtype", "float32")
    assert outcome.code == 0, outcome.err
    assert workspace.checkpoint()["scaler"] == {}


def test_other_circumstances_are_told(half_way: Any) -> None:
    run = half_way.run
    run["versions"]["torch"] = "2.12.0"
    (half_way.models / "run.json").write_text(json.dumps(run | {"processes": 4}), encoding="utf-8")
    outcome = half_way.stage3("--resume")
    assert outcome.code == 0, outcome.err
    notes = [line for line in outcome.out.splitlines() if "bit for bit" in line]
    assert notes == [
        "  Note: processes was 4 and is 1, so it may not be bit for bit the same run.",
        f"  Note: torch was 2.12.0 and is {torch.__version__}, so it may not be bit for bit the "
        "same run.",
    ]


def test_a_finished_run_is_not_made_longer(trained: Any, tmp_path: Path, content_of: Any) -> None:
    workspace = trained.copy(tmp_path / "copy")
    before = content_of(workspace.root)
    steps = workspace.run["train"]["max_iters"]
    outcome = workspace.stage3("--resume", "--max-iters", steps + 1)
    assert outcome.code == 2
    assert f"--max-iters {steps + 1}: the run to resume has {steps}" in outcome.err
    assert content_of(workspace.root) == before


def test_the_flags_of_the_first_start_may_stand_there_again(half_way: Any) -> None:
    outcome = half_way.stage3(
        *("--resume", "--max-iters", 20, "--preset", "tiny", "--learning-rate", 1e-2),
        *("--dropout", 0.0, "--batch-size", 4, "--dtype", "float32"),
    )
    assert outcome.code == 0, outcome.err
    assert "another way" not in outcome.out
    assert "bit for bit" not in outcome.out


def test_what_was_asked_for_may_stand_there_again_though_decided_otherwise(
    workspace: Any,
) -> None:
    """--preset auto and --warmup-iters of a run whose plan became something else."""
    workspace.begin(max_iters=3)
    run = workspace.run
    run["asked"] = {"preset": "auto", "minutes": 5.0, "warmup_iters": 100}
    run["train"] |= {"preset": "tiny", "minutes": 5.0, "warmup_iters": 0}
    (workspace.models / "run.json").write_text(json.dumps(run), encoding="utf-8")
    outcome = workspace.stage3(
        *("--resume", "--preset", "auto", "--minutes", 5, "--warmup-iters", 100)
    )
    assert outcome.code == 0, outcome.err


# -------------------------------------------------------------------------------- what may not


def test_nothing_to_resume(workspace: Any) -> None:
    outcome = workspace.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "nothing to resume" in outcome.err
    assert "without --resume" in outcome.err
    assert not workspace.models.exists()


def test_another_configuration_is_refused_with_all_differences(
    half_way: Any, content_of: Any
) -> None:
    before = content_of(half_way.root)
    outcome = half_way.stage3(
        *("--resume", "--learning-rate", 5e-3, "--max-iters", 99, "--seed", 3),
        *("--dropout", 0.3, "--batch-size", 3, "--preset", "base", "--patience", 2),
    )
    assert outcome.code == 2
    problems = {
        "--learning-rate 0.005": "0.01",
        "--max-iters 99": "20",
        "--seed 3": str(TrainConfig().seed),
        "--dropout 0.3": "0.0",
        "--preset base": "tiny",
        "--patience 2": "None",
        "--batch-size 3 with --grad-accum 1": "4 rows a step",
    }
    assert len(outcome.complaints) == len(problems)
    for wrong, right in problems.items():
        (line,) = [line for line in outcome.complaints if wrong in line]
        assert f"the run to resume has {right}" in line
    assert content_of(half_way.root) == before


@pytest.mark.parametrize("what", ["training text", "validation text", "tokenizer"])
def test_another_text_or_tokenizer_is_refused(
    what: str, half_way: Any, corpus_writer: Any, sentences: Any, content_of: Any
) -> None:
    if what == "tokenizer":
        assert half_way.stage2("--vocab-size", 300).code == 0
    else:
        train, val = (401, 60) if what == "training text" else (400, 61)
        corpus_writer(half_way.data, sentences(train, 1), sentences(val, 2))
    before = content_of(half_way.models)
    then = half_way.run["hashes"][what][:12]
    outcome = half_way.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert f"the {what} is not the one this run began with" in outcome.err
    assert then in outcome.err
    assert content_of(half_way.models) == before


def test_a_tokenizer_that_comes_back_goes_on(half_way: Any) -> None:
    old = half_way.run["hashes"]["tokenizer"][:12]
    assert half_way.stage2("--vocab-size", 300).code == 0
    assert half_way.stage3("--resume").code == 2
    kept = half_way.tokenizer / "replaced" / old / "tokenizer.json"
    (half_way.tokenizer / "tokenizer.json").write_bytes(kept.read_bytes())
    assert half_way.stage3("--resume").code == 0


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "another model", "best model"])
def test_a_state_that_does_not_fit_is_refused(
    damage: str, half_way: Any, trained: Any, content_of: Any
) -> None:
    path = half_way.models / "last.pt"
    whole = path.read_bytes()
    if damage == "another model":
        content = half_way.checkpoint()
        content["model"]["embedding.weight"] = torch.zeros(7, 32)
        torch.save(content, path)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": whole[: len(whole) // 2],
                "text": b"no checkpoint at all\n" * 50,
                "best model": (trained.models / "best_model.pt").read_bytes(),
            }[damage]
        )
    before = content_of(half_way.models)
    outcome = half_way.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "last.pt" in outcome.err
    assert content_of(half_way.models) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"train": {}', b"\xff"])
def test_a_damaged_record_is_refused(content: bytes, half_way: Any, content_of: Any) -> None:
    (half_way.models / "run.json").write_bytes(content)
    before = content_of(half_way.models)
    outcome = half_way.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "run.json" in outcome.err
    assert content_of(half_way.models) == before


def test_resume_and_force_together_are_refused(half_way: Any) -> None:
    outcome = half_way.stage3("--resume", "--force")
    assert outcome.code == 2
    assert outcome.complaints == ["error: --resume and --force: give one of them"]
