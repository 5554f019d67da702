"""AdamW and the learning rate over a run."""

from __future__ import annotations

import math

import torch

from config import TrainConfig
from model import GPT

BETAS = (0.9, 0.95)  # as GPT-3: Brown et al. 2020, arXiv:2005.14165, appendix B


def make_optimizer(model: GPT, train: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); only matrices decay, not norms."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": train.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    fused = model.embedding.weight.device.type in ("cuda", "cpu")
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=BETAS, fused=fused)


def learning_rate_at(step: int, train: TrainConfig) -> float:
    """Linear warm-up, then a cosine from `learning_rate` to `last_lr` at the last step."""
    if step < train.warmup_iters:
        return train.learning_rate * (step + 1) / train.warmup_iters
    length = max(1, train.max_iters - 1 - train.warmup_iters)
    progress = min(1.0, (step - train.warmup_iters) / length)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return train.last_lr + (train.learning_rate - train.last_lr) * cosine
