"""The model as the loop calls it: torch.compile where it works, gradients shared by processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from model import GPT
from pipeline.device import is_out_of_memory
from pipeline.distributed import World


class LossFunction:
    """(inputs, targets), both (B, T) -> mean loss; with a compiled graph if asked for.

    Compiling fails on some machines (no C++ compiler, no OpenMP). The first call finds that out,
    with a forward and a backward pass: then one warning is printed, `compiled` becomes False, and
    the model runs as it is. In a world of several processes the backward pass leaves the mean of
    their gradients in each.
    """

    def __init__(self, model: GPT, compiled: bool, world: World | None = None) -> None:
        several = world is not None and world.size > 1
        self.model: GPT | DistributedDataParallel = (
            DistributedDataParallel(model, broadcast_buffers=False) if several else model
        )
        self.compiled = compiled
        self._forward: Callable[..., Any] = self.model
        self._tried = not compiled

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        if not self._tried:
            self._try(inputs, targets)
            self._tried = True
        return self._forward(inputs, targets)[1]

    def alone(self) -> AbstractContextManager[None]:
        """Within it gradients stay with this process: for all micro-batches but the last."""
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _try(self, inputs: Tensor, targets: Tensor) -> None:
        device = inputs.device
        cpu_state = torch.get_rng_state()
        cuda_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        try:
            # Preparing raises too, on a system or a Python that the compiler does not support.
            self._forward = torch.compile(self.model, dynamic=False)
            self._forward(inputs, targets)[1].backward()
        except Exception as error:  # whatever the compiler's layers raise
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if " " in torch.__file__:
                reason = "PyTorch's compiler needs a path without spaces"
            print(f"  Warning: torch.compile does not work here ({reason}); going on without it.")
            self._forward = self.model
            self.compiled = False
        self.model.zero_grad(set_to_none=True)
        torch.set_rng_state(cpu_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, device)
