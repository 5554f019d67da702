"""The network: a decoder-only transformer with rotary positions.

Letters in the shape comments:
    B  rows of a batch          H  attention heads
    T  tokens of a row          D  width of a head, C / H
    C  width of the model       V  tokens in the vocabulary

Pre-LayerNorm blocks, exact GELU, tied embeddings, no bias on linear layers: the arrangement
of GPT-NeoX (Black et al. 2022, arXiv:2204.06745) with sequential residuals.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from config import ModelConfig

# A target that costs nothing: padding of a last row, and <bos>.
IGNORE_INDEX = -100

# Products of so few rows are cut into parts, for all threads of a CPU (`linear`).
FEW_ROWS, PARTS = 64, 8


class RotaryPositionalEmbedding(nn.Module):
    """Rotates each pair of channels by an angle that grows with the position.

    RoFormer (Su et al. 2021, arXiv:2104.09864), with the channels paired half by half
    (i with i + D/2) as GPT-NeoX does. The angles are kept in float32 under any autocast.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, block_size: int, base: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim {head_dim}: must be even")
        frequencies = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(block_size, dtype=torch.float32), frequencies)
        angles = torch.cat((angles, angles), dim=-1)  # (block_size, D)
        # Derived from the configuration, so not part of a checkpoint.
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, 1, T, D) for positions (B, T)."""
        return self.cos[positions][:, None], self.sin[positions][:, None]

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Rotate queries or keys x (..., B, H, T, D) by angles, or at positions 0 to T - 1."""
        T = x.size(-2)
        cos, sin = (self.cos[:T], self.sin[:T]) if angles is None else angles
        first, second = x.float().chunk(2, dim=-1)  # (B, H, T, D/2) each
        quarter_turn = torch.cat((-second, first), dim=-1)  # (B, H, T, D)
        return (x * cos + quarter_turn * sin).to(x.dtype)


class Linear(nn.Linear):
    """nn.Linear without bias that may be laid out for a few rows at a time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (..., inputs) by a weight (outputs, inputs) -> (..., outputs).

    PyTorch multiplies a vector and a matrix in one thread of a CPU, a few rows not much better. A
    weight that lies in memory input by input (`GPT.for_generation`) is cut into parts that all
    threads work on: a token takes half the time (docs/EXPERIMENTS.md).
    """
    rows = x.numel() // x.size(-1)
    is_laid_out = weight.stride(0) == 1 and x.device.type == "cpu"
    if torch.is_grad_enabled() or rows > FEW_ROWS or not is_laid_out:
        return F.linear(x, weight)
    inputs, outputs = weight.size(1), weight.size(0)
    flat, by_input = x.reshape(rows, inputs), weight.mT  # (R, inputs), (inputs, outputs)
    if rows > 1 and outputs % PARTS == 0:
        parts = by_input.view(inputs, PARTS, -1).transpose(0, 1)  # (PARTS, inputs, outputs / PARTS)
        y = torch.bmm(flat.expand(PARTS, rows, inputs), parts).transpose(0, 1)
    else:
        n = math.gcd(inputs, PARTS)
        parts = by_input.view(n, -1, outputs)
        y = torch.bmm(flat.view(rows, n, -1).transpose(0, 1), parts).sum(0)
    return y.reshape(*x.shape[:-1], outputs)


class Dropout(nn.Dropout):
    """nn.Dropout with four decisions from each random number where drawing them is what costs.

    Less than half the cost on a CPU (docs/EXPERIMENTS.md). There p is rounded down to a multiple
    of 1/65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return super().forward(x)
        # Not the whole range of int64: compiled, its width would overflow. The lowest bit is 0.
        numbers = torch.randint(2**63 - 1, (-(-x.numel() // 4),), device=x.device) << 1
        quarters = numbers.view(torch.int16)[: x.numel()].view(x.shape)
        keep = quarters >= int(self.p * 2**16) - 2**15
        return x * keep / (1 - self.p)


class KVCache:
    """Keys and values of what B rows have read, so that no token is computed twice.

    Rows may have read different numbers of tokens, `lengths`. What lies in the buffer beyond a
    row's length is never looked at, and its next tokens overwrite it.
    """

    def __init__(self, model: GPT, rows: int) -> None:
        c, weight = model.config, model.embedding.weight
        shape = (c.n_layer, 2, rows, c.n_head, c.block_size, c.n_embd // c.n_head)
        self.buffer = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.lengths = [0] * rows
        blocks: Any = model.blocks
        self.rope: RotaryPositionalEmbedding = blocks[0].attention.rope

    def begin(self, T: int) -> None:
        """Make ready for T more tokens of each row."""
        end, block_size = max(self.lengths) + T, self.buffer.size(4)
        if end > block_size:
            raise ValueError(f"{end} tokens: the context is {block_size}")
        device = self.buffer.device
        lengths = torch.tensor(self.lengths, device=device)
        positions = lengths[:, None] + torch.arange(T, device=device)  # (B, T)
        self.angles = self.rope.at(positions)
        self.new, self.known = slice(end - T, end), slice(end)
        # Where in the buffer the new tokens go, and (B, 1, T, end) what each of them looks at:
        # itself and all that its row has before it.
        self.places, self.mask = None, None
        if min(self.lengths) + T < end:
            self.places = (torch.arange(len(lengths), device=device)[:, None], positions)
        if T > 1 or self.places is not None:
            self.mask = torch.arange(end, device=device) <= positions[:, None, :, None]

    def extend(self, layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (2, B, H, T, D); all of the layer's up to the longest row's end."""
        buffer = self.buffer[layer]  # (2, B, H, block_size, D)
        if self.places is None:  # rows of one length
            buffer[..., self.new, :] = kv
        else:
            rows, positions = self.places
            buffer[:, rows, :, positions] = kv.permute(1, 3, 0, 2, 4)
        keys, values = buffer[..., self.known, :]
        return keys, values

    def end(self, T: int) -> None:
        self.lengths = [length + T for length in self.lengths]

    def replace(self, rows: list[int], other: KVCache) -> None:
        """Put another cache's rows in the place of some of these."""
        self.buffer[:, :, rows] = other.buffer
        for row, length in zip(rows, other.lengths, strict=True):
            self.lengths[row] = length

    def keep(self, rows: list[int]) -> None:
        """Forget all rows but these."""
        self.buffer = self.buffer[:, :, rows]
        self.lengths = [self.lengths[row] for row in rows]


class CausalSelfAttention(nn.Module):
    """Every position looks at itself and at what stands before it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.qkv = Linear(config.n_embd, 3 * config.n_embd)
        self.proj = Linear(config.n_embd, config.n_embd)
        self.rope = RotaryPositionalEmbedding(config.n_embd // config.n_head, config.block_size)
        self.residual_dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D)
        q, k, v = qkv
        # No dropout on the weights: the fused kernels lose speed with it (docs/EXPERIMENTS.md).
        if cache is not None:
            q, k = self.rope(qkv[:2], cache.angles)
            keys, values = cache.extend(layer, torch.stack((k, v)))
            y = F.scaled_dot_product_attention(q, keys, values, cache.mask)
        elif self.training and (v.device.type, v.dtype) == ("cpu", torch.bfloat16):
            y = attention_in_halves(self.rope(q), self.rope(k), v)
        else:
            y = F.scaled_dot_product_attention(self.rope(q), self.rope(k), v, is_causal=True)
        y = y.transpose(1, 2).reshape(B, T, C)  # the heads side by side again
        return self.residual_dropout(self.proj(y))


def attention_in_halves(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention as plain matrix products: (B, H, T, D) each -> (B, H, T, D).

    Forward and back in bfloat16, a CPU takes half the time of its fused kernel
    (docs/EXPERIMENTS.md), and memory for B x H x 3/4 T x T weights. Queries of the first half of a
    row never look at keys of the second.
    """
    T = q.size(-2)
    outputs = []
    for start, end in ((0, T // 2), (T // 2, T)):
        scores = q[:, :, start:end] @ k[:, :, :end].transpose(-1, -2) / math.sqrt(q.size(-1))
        is_future = torch.ones(end - start, end, dtype=torch.bool, device=q.device).triu(start + 1)
        weights = scores.masked_fill(is_future, -math.inf).softmax(dim=-1)
        outputs.append(weights @ v[:, :, :end])
    return torch.cat(outputs, dim=-2)


class FeedForward(nn.Module):
    """Four times wider, GELU, and back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.n_embd, 4 * config.n_embd)
        self.down = Linear(4 * config.n_embd, config.n_embd)
        self.residual_dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.up(x))  # (B, T, 4C)
        return self.residual_dropout(self.down(x))


class Block(nn.Module):
    """Attention, then feed-forward, each behind a LayerNorm and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.n_embd)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.n_embd)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cache, layer)
        return x + self.feed_forward(self.feed_forward_norm(x))


class GPT(nn.Module):
    """A language model over token ids.

    `grad_checkpoint` recomputes each block in the backward pass: memory for time, with the
    same gradients.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.grad_checkpoint = False
        # Facts about the training, from the checkpoint that the weights come from.
        self.card: dict[str, Any] = {}
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.embedding_dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.final_norm = nn.LayerNorm(config.n_embd)
        self._initialise()

    def _initialise(self) -> None:
        """GPT-2's initialisation: N(0, 0.02), smaller where a layer writes to the residual
        stream, so that its variance does not grow with depth (Radford et al. 2019, 2.3)."""
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                writes_to_residual = name.endswith(("proj.weight", "down.weight"))
                nn.init.normal_(weight, std=residual_std if writes_to_residual else 0.02)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor] | Tensor:
        """Logits, or the loss.

        idx: (B, T) int64, T at most `block_size`. Without targets: logits (B, T, V) at every
        position. With targets (B, T) int64, IGNORE_INDEX where there is nothing to predict:
        (None, the mean cross-entropy in nats as a scalar tensor).
        """
        x = self.hidden(idx)  # (B, T, C)
        if targets is None:
            return self.head(x)  # (B, T, V)
        logits = self.head(x).float().flatten(0, 1)  # (B * T, V)
        return None, F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE_INDEX)

    def hidden(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """The residual stream after the final norm: (B, T) -> (B, T, C).

        With a cache, idx are the tokens after those that its rows have read.
        """
        T = idx.size(1)
        if cache is not None:
            cache.begin(T)
        elif self.config.block_size < T:
            raise ValueError(f"{T} tokens: the context is {self.config.block_size}")
        x = self.embedding_dropout(self.embedding(idx))  # (B, T, C)
        for layer, block in enumerate(self.blocks):
            if self.grad_checkpoint and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x, cache, layer)
        if cache is not None:
            cache.end(T)
        return self.final_norm(x)

    def head(self, x: Tensor) -> Tensor:
        """Residual stream (..., C) -> logits (..., V); the matrix is the embedding's."""
        return linear(x, self.embedding.weight)

    def for_generation(self) -> GPT:
        """On a CPU, lay the matrices out for a few rows at a time (see `linear`)."""
        for parameter in self.parameters():
            if parameter.dim() == 2 and parameter.device.type == "cpu":
                parameter.data = parameter.data.mT.contiguous().mT
        return self

    def parameter_count(self) -> int:
        """Parameters, the tied embedding counted once."""
        return sum(p.numel() for p in self.parameters())

    def flops_per_token(self) -> int:
        """Floating-point operations of training on one token, forward and backward.

        6 for each parameter of a matrix (the tied embedding once, as the output layer), and
        6 x layers x width x context for the causal half of attention (Chowdhery et al. 2022,
        arXiv:2204.02311, appendix B, without the masked half).
        """
        matrices = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        c = self.config
        return 6 * matrices + 6 * c.n_layer * c.n_embd * c.block_size
