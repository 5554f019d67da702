"""The one place that decides device, arithmetic, autocast and gradient scaling."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from config import ConfigError


@dataclass(frozen=True)
class Compute:
    """Where and in which arithmetic a model runs, and why."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in `dtype`; weights, norms and losses stay in float32."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss so that float16 gradients do not vanish; does nothing elsewhere."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the device; from pinned memory, so that the CPU need not wait."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock reads finished work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def describe(self) -> str:
        name = self.device.type
        if name == "cuda":
            name = torch.cuda.get_device_name(self.device)
        elif name == "cpu":
            name = f"CPU, {torch.get_num_threads()} threads"
        return f"{name}; {str(self.dtype).removeprefix('torch.')}: {self.reason}"


def choose_device(device: str | None = None) -> torch.device:
    """The named device, or the best there is: CUDA, then MPS, then the CPU.

    Raises ConfigError for a device that this machine does not have.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device in (None, "auto"):
        return torch.device(next((name for name in there if there[name]), "cpu"))
    assert device is not None
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError([f"--device {device}: must be one of auto, cpu, cuda, mps"]) from None
    is_there = there.get(chosen.type, chosen.type == "cpu")
    if not is_there or (chosen.index or 0) >= max(1, torch.cuda.device_count()):
        raise ConfigError(
            [f"--device {device}: PyTorch finds no such device here; try --device auto"]
        )
    return chosen


def choose_compute(device: str = "auto", dtype: str = "auto", local_rank: int = 0) -> Compute:
    """Device and arithmetic for training, for process `local_rank` of this machine.

    Raises ConfigError where they do not go together.
    """
    chosen = choose_device(device)
    if local_rank and chosen.type == "cuda":
        chosen = torch.device("cuda", local_rank)
    if dtype != "auto":
        if chosen.type == "mps" and dtype == "bfloat16":
            raise ConfigError(["--dtype bfloat16: not offered on MPS; try float32 or float16"])
        return Compute(chosen, getattr(torch, dtype), "asked for with --dtype")
    if chosen.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Compute(chosen, torch.bfloat16, "this GPU computes in it")
        return Compute(chosen, torch.float16, "this GPU has no bfloat16; the loss is scaled")
    if chosen.type == "cpu" and _cpu_has_bfloat16():
        return Compute(chosen, torch.bfloat16, "this CPU has instructions for it")
    return Compute(chosen, torch.float32, "no bfloat16 instructions here")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of the device, or of the machine, is too small."""
    signs = ("out of memory", "DefaultCPUAllocator")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
