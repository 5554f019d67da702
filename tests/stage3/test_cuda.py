"""What only a CUDA device can show; skipped without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from config import ModelConfig
from model import GPT
from pipeline.device import choose_compute

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_attention_runs_in_the_flash_kernel() -> None:
    compute = choose_compute("cuda", "bfloat16")
    model = GPT(ModelConfig()).to(compute.device).train()
    idx = torch.randint(4, 8192, (4, 256), device=compute.device)
    # With the other kernels forbidden, a call that flash cannot take raises.
    with compute.autocast(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        model(idx, idx)[1].backward()


def test_a_stopped_run_goes_on_and_finishes(workspace: Any) -> None:
    stopped = workspace.train(
        device="cuda", dtype="bfloat16", max_iters=40, interrupt_at=("step 20:",)
    )
    assert stopped.code == 130
    assert workspace.stage3("--resume").code == 0
    losses = [row["val_loss"] for row in workspace.metrics if row["val_loss"]]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
