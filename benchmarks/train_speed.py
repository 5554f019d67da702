"""Training speed and memory of `base`: each switch, Hugging Face's GPT-NeoX, the machine's limit.

    python -m benchmarks.train_speed [--batch-size 16] [--steps 10] [--device auto] [--json FILE]

All trainers take their steps in turn, so that a slow minute of the machine hits each alike; a
figure is the median of `--steps` steps after warm-up. The limit is the best of several
4096-cube matrix products in the same run; because a shared machine may be twice as fast in one
minute as in the next, the share of the products of the same turn is given beside it. Memory is the
peak of a process that does nothing else. Needs transformers (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import peak_of
from config import PRESETS, ModelConfig
from model import GPT
from pipeline.compiled import LossFunction
from pipeline.device import Compute, choose_compute
from pipeline.optimizer import make_optimizer

Step = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Trainer:
    """How a step is taken. The defaults are as 03_train.py trains."""

    neox: bool = False  # Hugging Face's model instead of ours
    dropout: float = 0.1
    bfloat16: bool = True
    compiled: bool = True
    fused: bool = True
    checkpointing: bool = False
    optimizer: str = "adamw"
    rows: int | None = None  # None: --batch-size


PLAIN = Trainer(bfloat16=False, compiled=False, fused=False)
NEOX = dataclasses.replace(PLAIN, neox=True)
TRAINERS = {
    "as 03_train.py does": Trainer(),
    "no dropout": Trainer(dropout=0.0),
    "8 rows": Trainer(rows=8),
    "32 rows": Trainer(rows=32),
    "Muon": Trainer(optimizer="muon"),
    "AdamW not fused": Trainer(fused=False),
    "gradient checkpointing": Trainer(checkpointing=True),
    "eager": Trainer(compiled=False),
    "float32": Trainer(bfloat16=False),
    "a plain loop: float32, eager, not fused": PLAIN,
    "GPT-NeoX in a plain loop": NEOX,
    "GPT-NeoX in a plain loop, no dropout": dataclasses.replace(NEOX, dropout=0.0),
    "GPT-NeoX, bfloat16, fused": dataclasses.replace(NEOX, bfloat16=True, fused=True),
}


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


def make_step(trainer: Trainer, device: str) -> Step:
    """A function that takes one training step on (B, T + 1) token ids."""
    torch.manual_seed(0)
    compute = choose_compute(device, "auto" if trainer.bfloat16 else "float32")
    model = (
        make_neox(trainer.dropout) if trainer.neox else GPT(ModelConfig(dropout=trainer.dropout))
    )
    model.to(compute.device).train()
    if trainer.checkpointing:
        model.grad_checkpoint = True
    recipe = dataclasses.replace(PRESETS["base"].train, optimizer=trainer.optimizer)
    optimizer: torch.optim.Optimizer
    if trainer.neox:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=trainer.fused)
    else:
        optimizer = make_optimizer(model, recipe)
        if not trainer.fused:
            for group in optimizer.param_groups:
                group["fused"] = False
    loss_of: Any = model if trainer.neox else LossFunction(model, trainer.compiled)

    def step(idx: torch.Tensor) -> None:
        inputs, targets = idx[:, :-1], idx[:, 1:]
        with compute.autocast():
            if trainer.neox:
                loss = model(input_ids=inputs, labels=inputs, use_cache=False).loss
            else:
                loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        compute.synchronize()

    return step


def make_neox(dropout: float) -> Any:
    """The same network from Hugging Face."""
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
    return GPTNeoXForCausalLM(config)


def memory_of(name: str, args: argparse.Namespace, compute: Compute) -> float | None:
    """Peak memory of a trainer in megabytes: of the GPU, or anonymous memory of a process."""
    command = [sys.executable, "-m", "benchmarks.train_speed", "--only", name]
    command += ["--batch-size", str(args.batch_size), "--device", args.device]
    if compute.device.type == "cuda":
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return peak_of(command)[0] if sys.platform.startswith("linux") else None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="three steps of this trainer alone, for its memory")
    args = parser.parse_args(argv)

    compute = choose_compute(args.device)
    block_size = ModelConfig().block_size

    def rows_for(trainer: Trainer) -> torch.Tensor:
        size = (trainer.rows or args.batch_size, block_size + 1)
        return torch.randint(4, 8192, size, device=compute.device)

    if args.only:
        step = make_step(TRAINERS[args.only], args.device)
        for _ in range(3):
            step(rows_for(TRAINERS[args.only]))
        if compute.device.type == "cuda":
            print(torch.cuda.max_memory_allocated() / 1e6)
        return 0

    steps = {name: make_step(trainer, args.device) for name, trainer in TRAINERS.items()}
    batches = {name: rows_for(trainer) for name, trainer in TRAINERS.items()}
    peaks: list[float] = []
    float32_peaks: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for turn in range(-args.warmup, args.steps):
        if turn >= 0:
            peaks.append(gemm_peak(compute, compute.dtype))
            float32_peaks.append(gemm_peak(compute, torch.float32))
        for name, step in steps.items():
            started = time.perf_counter()
            step(batches[name])
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
        print(f"turn {turn + 1} of {args.steps}", file=sys.stderr)
    del steps
    peak, float32_peak = max(peaks), max(float32_peaks)

    with torch.device("meta"):
        flops = GPT(ModelConfig()).flops_per_token()
    rows: dict[str, dict[str, float | None]] = {}
    print(f"{compute.describe()}; batch {args.batch_size} x {block_size}; medians of {args.steps}")
    print(
        f"GEMM peak: {peak / 1e9:,.0f} GFLOP/s (median of the turns "
        f"{statistics.median(peaks) / 1e9:,.0f}), float32 {float32_peak / 1e9:,.0f} GFLOP/s"
    )
    print("| trainer | tokens/s | share of the peak | of the same turn's | memory, MB |")
    print("|---|---|---|---|---|")
    for name, values in seconds.items():
        tokens = batches[name].size(0) * block_size
        speed = tokens / statistics.median(values)
        turns = [tokens * flops / s / p for s, p in zip(values, peaks, strict=True)]
        same_turn = statistics.median(turns)
        memory = memory_of(name, args, compute)
        rows[name] = {
            "tokens_per_second": speed,
            "share_of_peak": speed * flops / peak,
            "share_of_same_turn": same_turn,
            "peak_megabytes": memory,
        }
        shares = f"{speed * flops / peak:.1%} | {same_turn:.1%}"
        print(f"| {name} | {speed:,.0f} | {shares} | {memory or float('nan'):,.0f} |")
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
