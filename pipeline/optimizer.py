"""What turns gradients into steps, and the learning rate over a run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from config import TrainConfig
from model import GPT
from pipeline.device import Compute

BETAS = (0.9, 0.95)  # as GPT-3: Brown et al. 2020, arXiv:2005.14165, appendix B
# PyTorch's 1e-8 lets rounding decide the direction of the smallest gradients: another number of
# processes would not come to the same weights (docs/EXPERIMENTS.md).
EPS = 1e-7

# Muon's momentum and polynomial, and a step as long as AdamW's (Liu et al. 2025, arXiv:2502.16982).
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
RMS_OF_ADAMW = 0.2
# Beside Muon the embedding gains by a higher rate and a longer memory (docs/EXPERIMENTS.md).
EMBEDDING_RATE = 2
BETAS_BESIDE_MUON = (0.9, 0.99)


class Muon(torch.optim.Optimizer):
    """Steps whose singular values are alike (Jordan et al. 2024).

    kellerjordan.github.io/posts/muon; computed as torch.optim.Muon does with
    `adjust_lr_fn="match_rms_adamw"`, but in `dtype`, since bfloat16 is slow where there are no
    instructions for it; and each matrix of a group is `parts` matrices on top of each other.
    """

    def __init__(self, groups: list[dict[str, Any]], weight_decay: float, dtype: torch.dtype):
        super().__init__(groups, {"lr": 0.0, "weight_decay": weight_decay, "parts": 1})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in group["params"]:
                if not (state := self.state[matrix]):
                    state["momentum"] = torch.zeros_like(matrix)
                momentum = state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
                update = matrix.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                parts = update.view(group["parts"], -1, matrix.size(1))
                length = RMS_OF_ADAMW * math.sqrt(max(parts.shape[1:]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                step = orthogonalised(parts, self.dtype).view_as(matrix)
                matrix.add_(step, alpha=-group["lr"] * length)


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, R, C) -> (N, R, C) with the same singular vectors and singular values of about 1."""
    is_tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if is_tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if is_tall else x


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon on the matrices of the blocks, AdamW on embedding and norms, as one optimizer.

    One rate and one decay for all; the embedding takes EMBEDDING_RATE of both. Queries, keys and
    values are steps of their own, though one matrix holds them.
    """

    def __init__(self, model: GPT, train: TrainConfig, dtype: torch.dtype):
        super().__init__(list(model.parameters()), {"lr": train.learning_rate})
        matrices = {n: p for n, p in model.blocks.named_parameters() if p.dim() == 2}
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in matrices.items() if "qkv" in n], "parts": 3},
            {"params": [p for n, p in matrices.items() if "qkv" not in n]},
        ]
        self.muon = Muon(groups, train.weight_decay, dtype)
        rest = [p for p in model.parameters() if p.dim() < 2 or p is model.embedding.weight]
        self.adamw = make_adamw(rest, train, BETAS_BESIDE_MUON)

    def step(self) -> None:  # type: ignore[override]
        learning_rate = self.param_groups[0]["lr"]
        embedding, norms = self.adamw.param_groups
        for group in (*self.muon.param_groups, norms):
            group["lr"] = learning_rate
        embedding["lr"] = learning_rate * EMBEDDING_RATE
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        load_state(self.muon, state_dict["muon"])
        load_state(self.adamw, state_dict["adamw"])


def make_optimizer(model: GPT, train: TrainConfig, compute: Compute) -> torch.optim.Optimizer:
    """The optimizer that the configuration names, for all parameters of the model."""
    if train.optimizer == "muon":
        is_bfloat16 = compute.dtype == torch.bfloat16
        return MuonAndAdamW(model, train, torch.bfloat16 if is_bfloat16 else torch.float32)
    return make_adamw(list(model.parameters()), train)


def load_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Put back what an optimizer had gathered; rate, decay and the like stay as they were made.

    Raises ValueError if it was gathered for other parameters.
    """
    if isinstance(optimizer, MuonAndAdamW):
        optimizer.load_state_dict(saved)
        return
    own = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in own]:
        raise ValueError("other groups of parameters")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, state in saved["state"].items():
        for name, value in state.items():
            if value.shape != (() if name == "step" else parameters[number].shape):
                raise ValueError("gathered for a parameter of another shape")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own})


def make_adamw(
    parameters: list[torch.nn.Parameter],
    train: TrainConfig,
    betas: tuple[float, float] = BETAS,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); only matrices decay, not norms."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=betas, eps=EPS, fused=True)


def learning_rate_at(step: int, train: TrainConfig) -> float:
    """Linear warm-up, then `schedule` from `learning_rate` to `last_lr` at the last step."""
    if step < train.warmup_iters:
        return train.learning_rate * (step + 1) / train.warmup_iters
    length = max(1, train.max_iters - 1 - train.warmup_iters)
    progress = min(1.0, (step - train.warmup_iters) / length)
    left = 1 - progress if train.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return train.last_lr + (train.learning_rate - train.last_lr) * left
