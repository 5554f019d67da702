"""Files of ours that somebody, or a crash, has changed: one line or made anew, no traceback."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest


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


@pytest.mark.parametrize(
    "change",
    [
        {"hashes": []},
        {"hashes": {"tokenizer": 5}},
        {"model": {"n_layer": 10**9}},
        {"train": {"batch_size": None}},
        {"train": {"max_iters": 5.5}},
    ],
)
def test_a_foreign_record_is_refused_in_one_line(change: dict[str, Any], workspace: Any) -> None:
    workspace.begin(max_iters=2)
    path = workspace.models / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for name, value in change.items():
        record[name] = record[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record), encoding="utf-8")
    outcome = workspace.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "run.json" in outcome.err


@pytest.mark.parametrize("text", ["[" * 200_000, '{"sha256": []}', '{"sha256": "x"}'])
def test_a_damaged_manifest_is_told_in_one_line(text: str, workspace: Any) -> None:
    (workspace.data / "manifest.json").write_text(text, encoding="utf-8")
    outcome = workspace.stage2("--force")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "manifest.json" in outcome.err
