"""What the tests of python -m tools.evaluate share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from model import GPT
from utils import load_model, load_tokenizer

# Lines that no training text of these tests holds.
UNREAD = ["Яшел бакча үсә, матур башкала.", "Елга буенда Казан", "Һәм анда зур бакча!"]


@pytest.fixture
def evaluate(trained: Any, run_script: Any, tmp_path: Path) -> Any:
    """Call the command on the trained model; `.report` is what it wrote as JSON."""

    def call(*more: object, workspace: Any = trained) -> Any:
        path = tmp_path / "figures" / "report.json"
        path.unlink(missing_ok=True)
        outcome = run_script(
            "tools.evaluate",
            *("--model", workspace.models / "best_model.pt", "--data-dir", workspace.data),
            *("--tokenizer-dir", workspace.tokenizer, "--device", "cpu"),
            *("--json", path, *more),
        )
        call.report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return outcome

    return call


@pytest.fixture(scope="module")
def model(trained: Any) -> GPT:
    return load_model(trained.models / "best_model.pt", "cpu")[0]


@pytest.fixture(scope="module")
def tokenizer(trained: Any) -> Tokenizer:
    return load_tokenizer(trained.tokenizer)[0]


@pytest.fixture
def unread(tmp_path: Path) -> Path:
    path = tmp_path / "unread.txt"
    path.write_text("".join(line + "\n" for line in UNREAD), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def log_p() -> Callable[[GPT, list[int]], torch.Tensor]:
    """(T, V) log-probabilities of what follows each of these tokens."""

    def after(model: GPT, ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([ids]))[0].double(), dim=-1)

    return after
