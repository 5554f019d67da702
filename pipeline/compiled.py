"""The model as the loop calls it: torch.compile where it works, gradients shared by processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from model import GPT
from pipeline.device import is_out_of_memory
from pipeline.distributed import World
from pipeline.errors import first_line


class LossFunction:
    """(inputs, targets), both (B, T) -> mean loss; with a compiled graph if asked for.

    Compiling fails on some machines (no C++ compiler, no OpenMP). The first call finds that out,
    with a forward and a backward pass: then one warning is printed, `compiled` becomes False, and
    the model runs as it is. In a world of several processes the backward pass leaves the mean of
    their gradients in each.
    """

    def __init__(self, model: GPT, compiled: bool, world: World | None = None) -> None:
        self.model = model
        self.compiled = compiled
        self._world = world or World()
        self._forward: Callable[..., Any] | None = None

    def __call__(self, inputs: Tensor, targets: Tensor, *, shared: bool = True) -> Tensor:
        """The mean loss; the gradients of a micro-batch that is not the last are not `shared`."""
        if self._forward is None:
            self._forward = self._prepared(inputs, targets)
        if isinstance(self._forward, DistributedDataParallel) and not shared:
            with self._forward.no_sync():
                return self._forward(inputs, targets)[1]
        return self._forward(inputs, targets)[1]

    def _prepared(self, inputs: Tensor, targets: Tensor) -> Callable[..., Any]:
        forward: Any = self.model
        if self.compiled:
            forward = self._compiled(inputs, targets)
            # All or none: each process says whether it could.
            failed = forward is self.model
            self.compiled = not self._world.any(failed)
            if not (self.compiled or failed):
                print("  Warning: torch.compile fails in another process; going on without it.")
        network = forward if self.compiled else self.model
        if self._world.size == 1:
            return network
        return DistributedDataParallel(
            network, forward_sync_buffers=False, gradient_as_bucket_view=True
        )

    def _compiled(self, inputs: Tensor, targets: Tensor) -> Any:
        """The compiled model after a pass forward and back, or the plain one and a warning."""
        device = inputs.device
        cpu_state = torch.get_rng_state()
        cuda_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        mps_state = torch.mps.get_rng_state() if device.type == "mps" else None
        forward: Any = self.model
        try:
            # Preparing raises too, on a system or a Python that the compiler does not support.
            forward = torch.compile(self.model, dynamic=False)
            forward(inputs, targets)[1].backward()
        except Exception as error:  # whatever the compiler's layers raise
            if is_out_of_memory(error):
                raise
            reason = first_line(error)
            if " " in torch.__file__:
                reason = "PyTorch's compiler needs a path without spaces"
            print(f"  Warning: torch.compile does not work here ({reason}); going on without it.")
            forward = self.model
        self.model.zero_grad(set_to_none=True)
        torch.set_rng_state(cpu_state)
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, device)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)
        return forward
