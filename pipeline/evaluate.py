"""The one loss that validation, perplexity and bits per byte share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from config import BOS_ID
from model import GPT, IGNORE_INDEX
from pipeline.batches import TokenIds
from pipeline.device import Compute

# Rows of one forward pass in evaluation. The result does not depend on it.
EVALUATION_ROWS = 8


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text.

    nats: summed cross-entropy of all tokens, <eos> included; a character or byte more for each
    line end stands in `characters` and `bytes`, as in the file.
    """

    nats: float
    tokens: int
    characters: int
    bytes: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_character(self) -> float:
        return self.nats / math.log(2) / self.characters

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


@torch.no_grad()
def token_nats(
    model: GPT, inputs: Tensor, targets: Tensor, compute: Compute, batch_rows: int = EVALUATION_ROWS
) -> Iterator[Tensor]:
    """Cross-entropy of each target of (R, T) rows in nats, (rows, T) float32 at a time.

    IGNORE_INDEX targets cost nothing.
    """
    was_training = model.training
    model.eval()
    for start in range(0, len(inputs), batch_rows):
        x, y = inputs[start : start + batch_rows], targets[start : start + batch_rows]
        with compute.autocast():
            logits = model(x.to(compute.device))  # (rows, T, V)
        yield F.cross_entropy(
            logits.float().flatten(0, 1),
            y.to(compute.device).flatten(),
            ignore_index=IGNORE_INDEX,
            reduction="none",
        ).view(y.shape)
    model.train(was_training)


def total_nats(
    model: GPT, inputs: Tensor, targets: Tensor, compute: Compute, batch_rows: int = EVALUATION_ROWS
) -> float:
    """Summed cross-entropy in nats over (R, T) rows."""
    # Row by row, in double precision on the CPU: the sum is the same for any batch_rows.
    parts = token_nats(model, inputs, targets, compute, batch_rows)
    return sum(float(nats.sum(dim=1).cpu().double().sum()) for nats in parts)


def unigram_loss(train: TokenIds, val: TokenIds, vocab_size: int) -> float:
    """Nats a token of guessing by frequency alone: the figure every model must beat.

    Cross-entropy of the validation tokens (all but <bos>) under the training counts plus one.
    """
    counts = _counts(train, vocab_size) + 1
    counts[BOS_ID] = 0
    val_counts = _counts(val, vocab_size)
    val_counts[BOS_ID] = 0
    log_p = np.log(np.maximum(counts, 1)) - math.log(counts.sum())
    return float(-(val_counts * log_p).sum() / val_counts.sum())


def _counts(tokens: TokenIds, vocab_size: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(vocab_size, dtype=np.int64)
    for chunk in _chunks(tokens):
        counts += np.bincount(chunk, minlength=vocab_size)
    return counts


def _chunks(tokens: TokenIds, size: int = 1 << 22) -> Iterator[TokenIds]:
    # np.bincount copies its input to int64: piece by piece, a mapped file stays on the disk.
    for start in range(0, len(tokens), size):
        yield tokens[start : start + size]
