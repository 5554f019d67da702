"""What only a CUDA device can show; skipped without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from config import ModelConfig
from model import GPT
from pipeline.device import choose_compute

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)),
    reason="no CUDA device that computes in bfloat16",
)


def test_attention_runs_in_the_flash_kernel() -> None:
    compute = choose_compute("cuda", "bfloat16")
    model = GPT(ModelConfig()).to(compute.device).train()
    idx = torch.randint(4, 8192, (4, 256), device=compute.device)
    # With the other kernels forbidden, a call that flash cannot take raises.
    with compute.autocast(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        model(idx, idx)[1].backward()


@pytest.mark.parametrize(
    "settings", [{}, {"compile": "on"}, {"optimizer": "muon"}, {"grad_checkpoint": True}]
)
def test_a_stopped_run_goes_on_and_finishes(settings: dict[str, Any], workspace: Any) -> None:
    workspace.begin(device="cuda", dtype="bfloat16", max_iters=40, **settings)
    go_on = ("--resume", "--device", "cuda")
    stopped = workspace.stage3(*go_on, interrupt_at=("step 20:",))
    assert stopped.code == 130
    assert torch.cuda.get_device_name() in stopped.out
    assert "Warning" not in stopped.out
    assert workspace.stage3(*go_on).code == 0
    losses = [row["val_loss"] for row in workspace.metrics if row["val_loss"]]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
