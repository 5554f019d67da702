"""What turns gradients into steps, and the learning rate over a run."""

from __future__ import annotations

import math
from typing import Any

import torch

from config import TrainConfig
from model import GPT

BETAS = (0.9, 0.95)  # as GPT-3: Brown et al. 2020, arXiv:2005.14165, appendix B
# PyTorch's 1e-8 lets rounding decide the direction of the smallest gradients: another number of
# processes would not come to the same weights (docs/EXPERIMENTS.md).
EPS = 1e-7

# Beside Muon the embedding gains by a higher rate (docs/EXPERIMENTS.md).
EMBEDDING_RATE = 2


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon on the matrices of the blocks, AdamW on embedding and norms, as one optimizer.

    Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) makes the singular values of a
    step alike. The step is scaled to the root mean square of AdamW's (Liu et al. 2025,
    arXiv:2502.16982), so both share learning rate and decay. Queries, keys and values are steps
    of their own, though one matrix holds them.
    """

    def __init__(self, model: GPT, train: TrainConfig) -> None:
        super().__init__(list(model.parameters()), {"lr": train.learning_rate})
        # Each matrix with the parts of it, in the same memory, that Muon steps.
        self.parts = [
            (p, [torch.nn.Parameter(x) for x in p.detach().chunk(3 if "qkv" in name else 1)])
            for name, p in model.blocks.named_parameters()
            if p.dim() == 2
        ]
        self.muon = torch.optim.Muon(
            [part for _, parts in self.parts for part in parts],
            weight_decay=train.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        rest = [p for p in model.parameters() if p.dim() < 2 or p is model.embedding.weight]
        self.adamw = make_adamw(rest, train)

    def step(self) -> None:  # type: ignore[override]
        learning_rate = self.param_groups[0]["lr"]
        self.muon.param_groups[0]["lr"] = learning_rate
        for group, factor in zip(self.adamw.param_groups, (EMBEDDING_RATE, 1), strict=True):
            group["lr"] = learning_rate * factor
        for matrix, parts in self.parts:
            assert matrix.grad is not None
            for part, gradient in zip(parts, matrix.grad.chunk(len(parts)), strict=True):
                part.grad = gradient
        self.muon.step()  # type: ignore[no-untyped-call]
        self.muon.zero_grad()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])


def make_optimizer(model: GPT, train: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer that the configuration names, for all parameters of the model."""
    if train.optimizer == "muon":
        return MuonAndAdamW(model, train)
    return make_adamw(list(model.parameters()), train)


def make_adamw(parameters: list[torch.nn.Parameter], train: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); only matrices decay, not norms."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    fused = parameters[0].device.type in ("cuda", "cpu")
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=BETAS, eps=EPS, fused=fused)


def learning_rate_at(step: int, train: TrainConfig) -> float:
    """Linear warm-up, then `schedule` from `learning_rate` to `last_lr` at the last step."""
    if step < train.warmup_iters:
        return train.learning_rate * (step + 1) / train.warmup_iters
    length = max(1, train.max_iters - 1 - train.warmup_iters)
    progress = min(1.0, (step - train.warmup_iters) / length)
    left = 1 - progress if train.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return train.last_lr + (train.learning_rate - train.last_lr) * left
