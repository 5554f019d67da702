from __future__ import annotations

from typing import Any

import pytest

from interface.limits import Limits
from interface.service import Service


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass


@pytest.fixture
def make_service(trained: Any) -> Any:
    def make(**limits: Any) -> Service:
        return Service(trained.models / "best_model.pt", trained.tokenizer, Limits(**limits))

    return make
