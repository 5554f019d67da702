"""Files of ours that somebody, or a crash, has changed: one line or made anew, no traceback."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from config import EOS_ID


@pytest.fixture
def must_be_refused(content_of: Any) -> Any:
    """Going on fails with these words in one line, and every file stays as it is."""

    def check(workspace: Any, words: str, *flags: str) -> None:
        before = content_of(workspace.models)
        outcome = workspace.stage3("--resume", *flags)
        assert outcome.code == 2
        assert len(outcome.complaints) == 1
        assert words in outcome.err
        assert content_of(workspace.models) == before

    return check


@pytest.mark.parametrize("line", ["5", "null", "[]", "{}", '{"step": "x"}', '{"step": 1}', "\xff"])
def test_a_damaged_record_of_a_run_is_cut_there(line: str, workspace: Any) -> None:
    assert workspace.train(max_iters=4, eval_interval=2, interrupt_at=("step 2:",)).code == 130
    path = workspace.models / "metrics.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")
    assert workspace.stage3("--resume").code == 0


@pytest.mark.parametrize(
    "ids", [np.full(9, 60_000), np.zeros(9), np.ones((3, 3)), np.array(5), np.linspace(0, 1, 9)]
)
def test_cached_tokens_that_are_none_are_made_anew(ids: Any, workspace: Any) -> None:
    workspace.begin(max_iters=2, eval_interval=2)
    (cache,) = (workspace.data / "cache").glob("train-*.npy")
    good = cache.read_bytes()
    np.save(cache, ids if ids.dtype == np.float64 and ids.ndim == 1 else ids.astype(np.uint16))
    outcome = workspace.stage3("--resume")
    assert outcome.code == 0, outcome.err
    assert "is damaged; making it anew" in outcome.out
    assert cache.read_bytes() == good


def test_rows_around_a_damaged_one_are_kept(workspace: Any) -> None:
    assert workspace.train(max_iters=6, eval_interval=2, interrupt_at=("step 4:",)).code == 130
    path = workspace.models / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = [b'{"step": 1, "train_loss": {}, "val_loss": null}\n', b"[" * 200_000 + b"\n"]
    path.write_bytes(b"\xef\xbb\xbf" + b"".join([*lines[:2], *damaged, *lines[2:]]))
    assert workspace.stage3("--resume").code == 0
    assert path.read_bytes().startswith(b"".join(lines))
    assert [row["step"] for row in workspace.metrics] == [1, 2, 3, 4, 5, 6]


def test_cached_tokens_of_another_length_are_made_anew(workspace: Any) -> None:
    """What is left of a text is not the text, though each of its tokens is one."""
    workspace.begin(max_iters=2, eval_interval=2)
    (cache,) = (workspace.data / "cache").glob("train-*.npy")
    good = cache.read_bytes()
    tokens = np.load(cache)
    ends = np.flatnonzero(tokens == EOS_ID)
    same = tokens.copy()
    same[1:-1] = 50
    for ids in (tokens[: ends[len(ends) // 3] + 1], same, tokens[:0]):
        np.save(cache, ids)
        assert "is damaged; making it anew" in workspace.stage3("--resume").out
        assert cache.read_bytes() == good
        workspace.begin(max_iters=2, eval_interval=2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c["model"]["final_norm.weight"].fill_(math.nan),
        lambda c: c.update(tokenizer_sha256="0" * 64),
        lambda c: c["config"].update(n_head=1),
        lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
        lambda c: c["optimizer"]["param_groups"][0]["params"].pop(),
        lambda c: c["optimizer"].update(state=[]),
        lambda c: c["state"].update(step="5"),
        lambda c: c["state"].update(step=400),
        lambda c: c["state"].update(best_step=99),
        lambda c: c.update(state={}),
    ],
)
def test_a_state_that_is_not_this_runs_is_refused(
    damage: Any, workspace: Any, must_be_refused: Any
) -> None:
    assert workspace.train(max_iters=6, eval_interval=2, interrupt_at=("step 2:",)).code == 130
    content = workspace.checkpoint()
    damage(content)
    torch.save(content, workspace.models / "last.pt")
    must_be_refused(workspace, "last.pt does not fit the run")


def test_a_model_without_its_state_is_not_trained_over(
    workspace: Any, must_be_refused: Any
) -> None:
    assert workspace.train(max_iters=6, eval_interval=2, interrupt_at=("step 2:",)).code == 130
    (workspace.models / "last.pt").unlink()
    must_be_refused(workspace, "last.pt is gone")


def test_a_crash_between_state_and_model_is_made_good(workspace: Any) -> None:
    assert workspace.train(max_iters=4, eval_interval=2, interrupt_at=("step 2:",)).code == 130
    workspace.stage3("--resume")
    best = (workspace.models / "best_model.pt").read_bytes()
    assert workspace.checkpoint()["state"]["best_step"] == 4
    (workspace.models / "best_model.pt").unlink()
    run = workspace.run | {"finished": False}
    (workspace.models / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert workspace.stage3("--resume").code == 0
    assert (workspace.models / "best_model.pt").read_bytes() == best


@pytest.mark.parametrize("name", ["schedule", "batch_size", "max_iters", "eval_interval"])
def test_a_record_that_lacks_a_setting_is_refused(
    name: str, workspace: Any, must_be_refused: Any
) -> None:
    workspace.begin(max_iters=2)
    run = workspace.run
    del run["train"][name]
    (workspace.models / "run.json").write_text(json.dumps(run), encoding="utf-8")
    must_be_refused(workspace, "was not written by this 03_train.py", "--schedule", "cosine")


@pytest.mark.parametrize(
    "change",
    [
        {"hashes": []},
        {"asked": None},
        {"versions": None},
        {"train": {"eval_interval": None}},
        {"train": {"learning_rate": 10**400}},
        {"hashes": {"tokenizer": 5}},
        {"model": {"n_layer": 10**9}},
        {"train": {"batch_size": None}},
        {"train": {"max_iters": 5.5}},
    ],
)
def test_a_foreign_record_is_refused_in_one_line(
    change: dict[str, Any], workspace: Any, must_be_refused: Any
) -> None:
    workspace.begin(max_iters=2)
    path = workspace.models / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name, value in change.items():
        record[name] = record[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record), encoding="utf-8")
    must_be_refused(workspace, "run.json")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"sha256": []}', '{"sha256": "x"}'])
def test_a_damaged_manifest_is_told_in_one_line(text: str, workspace: Any) -> None:
    (workspace.data / "manifest.json").write_text(text, encoding="utf-8")
    outcome = workspace.stage2("--force")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "manifest.json" in outcome.err
