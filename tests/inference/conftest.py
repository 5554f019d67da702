from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import pytest
import torch
from tokenizers import Tokenizer

from model import GPT
from utils import load_model, load_tokenizer


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass


class Trio(NamedTuple):
    model: GPT
    tokenizer: Tokenizer
    facts: dict[str, Any]


@pytest.fixture(scope="session")
def trio(trained: Any) -> Trio:
    model, _ = load_model(trained.models / "best_model.pt", "cpu", trained.tokenizer)
    return Trio(model, *load_tokenizer(trained.tokenizer))


@pytest.fixture(scope="session")
def untrained(trio: Trio) -> Trio:
    """Writes any byte after any other."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(trio.model.config)).eval()
    model.card = trio.model.card
    return trio._replace(model=model)
