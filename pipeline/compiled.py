"""torch.compile where it works, the plain model where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model import GPT

LossFunction = Callable[[Tensor, Tensor], Tensor]


def loss_function(model: GPT, compiled: bool) -> LossFunction:
    """(inputs, targets), both (B, T) -> mean loss; with a compiled graph if asked for.

    Compiling fails on some machines (no C++ compiler, no OpenMP): then one warning is printed and
    the model runs as it is.
    """
    forward: Callable[..., Any] = model
    proven = not compiled

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal forward, proven
        if proven:
            return forward(inputs, targets)[1]
        random_state = torch.get_rng_state()
        try:
            # Preparing raises too, on a system or a Python that the compiler does not support.
            forward = torch.compile(model, dynamic=False)
            result = forward(inputs, targets)[1]
        except Exception as error:  # whatever the compiler's layers raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            print(f"  Warning: torch.compile does not work here ({reason}); going on without it.")
            torch.set_rng_state(random_state)
            forward = model
            result = forward(inputs, targets)[1]
        proven = True
        return result

    return loss
