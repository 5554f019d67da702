"""The server under load, for twenty seconds; `python -m benchmarks.soak` takes five minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.soak import main


def test_no_request_is_lost(trained: Any, tmp_path: Path) -> None:
    result = tmp_path / "soak.json"
    files = ["--model", trained.models / "best_model.pt", "--tokenizer", trained.tokenizer]
    flags = ["--seconds", 20, "--clients", 40, *files, "--json", result]
    assert main([str(flag) for flag in flags]) == 0
    told = json.loads(result.read_text(encoding="utf-8"))
    assert told["lost"] == 0
    assert told["answered"] > 0
    assert told["busy"] > 0  # of 40 clients, 32 have a place
    assert told["refused"] > 0
