"""Training speed of `base` beside Hugging Face's GPT-NeoX and the machine's own limit.

    python -m benchmarks.train_speed [--batch-size 16] [--steps 10] [--device auto] [--json FILE]

All trainers take their steps in turn, so that a slow minute of the machine hits each alike; a
figure is the median of `--steps` steps after warm-up. The limit is the best of several
4096-cube matrix products in the same run; because a shared machine may be twice as fast in one
minute as in the next, the share of the products of the same turn is given beside it. Needs
transformers (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from config import PRESETS, ModelConfig
from model import GPT
from pipeline.compiled import LossFunction
from pipeline.device import Compute, choose_compute
from pipeline.optimizer import make_optimizer

Step = Callable[[torch.Tensor], None]


def gemm_peak(compute: Compute, dtype: torch.dtype, size: int = 4096, times: int = 3) -> float:
    """The best FLOP/s of several `size`-cube matrix products."""
    a = torch.randn(size, size, device=compute.device).to(dtype)
    b = torch.randn(size, size, device=compute.device).to(dtype)
    a @ b
    best = float("inf")
    for _ in range(times):
        compute.synchronize()
        started = time.perf_counter()
        a @ b
        compute.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def our_step(compute: Compute, dropout: float, compiled: bool) -> Step:
    """A step as 03_train.py takes it."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(dropout=dropout)).to(compute.device).train()
    optimizer = make_optimizer(model, PRESETS["base"].train)
    loss_of = LossFunction(model, compiled)

    def step(idx: torch.Tensor) -> None:
        with compute.autocast():
            loss = loss_of(idx[:, :-1], idx[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        compute.synchronize()

    return step


def neox_step(compute: Compute, dropout: float) -> Step:
    """The same network from Hugging Face in the plainest PyTorch loop, in float32."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    c = ModelConfig()
    config = GPTNeoXConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.n_embd,
        num_hidden_layers=c.n_layer,
        num_attention_heads=c.n_head,
        intermediate_size=4 * c.n_embd,
        max_position_embeddings=c.block_size,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1},
        hidden_act="gelu",
        use_parallel_residual=False,
        attention_bias=False,
        tie_word_embeddings=True,
        attention_dropout=dropout,
        hidden_dropout=dropout,
    )
    torch.manual_seed(0)
    model: Any = GPTNeoXForCausalLM(config).train()
    model.to(compute.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

    def step(idx: torch.Tensor) -> None:
        loss = model(input_ids=idx[:, :-1], labels=idx[:, :-1], use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        compute.synchronize()

    return step


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    compute = choose_compute(args.device)
    plain = Compute(compute.device, torch.float32, "the plain loop")
    trainers: dict[str, Step] = {
        "ours, compiled, no dropout": our_step(compute, 0.0, True),
        "ours, compiled, dropout 0.1": our_step(compute, 0.1, True),
        "ours, eager, dropout 0.1": our_step(compute, 0.1, False),
        "ours, float32 eager, dropout 0.1": our_step(plain, 0.1, False),
        "GPT-NeoX, float32 eager, no dropout": neox_step(plain, 0.0),
        "GPT-NeoX, float32 eager, dropout 0.1": neox_step(plain, 0.1),
    }
    block_size = ModelConfig().block_size
    idx = torch.randint(4, 8192, (args.batch_size, block_size + 1), device=compute.device)
    peaks: list[float] = []
    float32_peaks: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(-args.warmup, args.steps):
        if turn >= 0:
            peaks.append(gemm_peak(compute, compute.dtype))
            float32_peaks.append(gemm_peak(plain, torch.float32))
        for name, step in trainers.items():
            started = time.perf_counter()
            step(idx)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
        print(f"turn {turn + 1} of {args.steps}", file=sys.stderr)
    peak, float32_peak = max(peaks), max(float32_peaks)

    with torch.device("meta"):
        flops = GPT(ModelConfig()).flops_per_token()
    rows: dict[str, dict[str, float]] = {}
    print(f"{compute.describe()}; batch {args.batch_size} x {block_size}; medians of {args.steps}")
    print(
        f"GEMM peak: {peak / 1e9:,.0f} GFLOP/s (median of the turns "
        f"{statistics.median(peaks) / 1e9:,.0f}), float32 {float32_peak / 1e9:,.0f} GFLOP/s"
    )
    print("| trainer | tokens/s | share of the peak | of the same turn's |\n|---|---|---|---|")
    for name, values in seconds.items():
        speed = args.batch_size * block_size / statistics.median(values)
        work = args.batch_size * block_size * flops
        turns = [work / s / p for s, p in zip(values, peaks, strict=True)]
        row = rows[name] = {
            "tokens_per_second": speed,
            "share_of_peak": speed * flops / peak,
            "share_of_same_turn": statistics.median(turns),
        }
        shares = f"{row['share_of_peak']:.1%} | {row['share_of_same_turn']:.1%}"
        print(f"| {name} | {speed:,.0f} | {shares} |")
    if args.json:
        result: dict[str, Any] = {
            "device": compute.describe(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "batch_size": args.batch_size,
            "steps": args.steps,
            "gemm_peak_flops": peak,
            "gemm_peak_float32_flops": float32_peak,
            "gemm_flops_by_turn": peaks,
            "trainers": rows,
        }
        text = json.dumps(result, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        args.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
