"""Training speed and memory of `base`: each switch, Hugging Face's GPT-NeoX, the machine's limit.

    python -m benchmarks.train_speed [--batch-size 16] [--steps 10] [--device auto] [--json FILE]

All trainers take their steps in turn, each after several 4096-cube matrix products in its own
arithmetic, so that a slow minute of the machine hits each alike. A figure is the median of
`--steps` steps after warm-up; its share is that of the best product of the run, and of those just
before the step, because a shared machine may be twice as fast in one minute as in the next. The
work counted is the model's own: Muon's and recomputed activations are not in it. Memory is
the peak of a process that does nothing else, the compiler's and the libraries' included. Needs
transformers (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.memory import peak_of
from benchmarks.neox import make_neox
from config import PRESETS, ModelConfig
from model import GPT
from pipeline.compiled import LossFunction
from pipeline.device import Compute, choose_compute
from pipeline.files import write_json
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
    "GPT-NeoX, bfloat16, fused": dataclasses.replace(NEOX, bfloat16=True, fused=True),
    "GPT-NeoX, bfloat16, fused, compiled": Trainer(neox=True),
}


def gemm_peak(compute: Compute, dtype: torch.dtype, size: int = 4096, times: int = 3) -> float:
    """The best FLOP/s of several `size`-cube matrix products."""
    repeats = 50 if compute.device.type == "cuda" else 1  # one is too short for a clock there
    a = torch.randn(size, size, device=compute.device).to(dtype)
    b = torch.randn(size, size, device=compute.device).to(dtype)
    a @ b
    best = float("inf")
    for _ in range(times):
        compute.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            a @ b
        compute.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 * repeats / best


def make_step(trainer: Trainer, compute: Compute) -> Step:
    """A function that takes one training step on (B, T + 1) token ids."""
    torch.manual_seed(0)
    config = ModelConfig(dropout=trainer.dropout)
    model = make_neox(config) if trainer.neox else GPT(config)
    model.to(compute.device).train()
    if trainer.checkpointing:
        model.grad_checkpoint = True
    optimizer: torch.optim.Optimizer
    if trainer.neox:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=trainer.fused or None)
    else:
        recipe = dataclasses.replace(PRESETS["base"].train, optimizer=trainer.optimizer)
        optimizer = make_optimizer(model, recipe, compute)
        if not trainer.fused:
            for group in optimizer.param_groups:
                group["fused"] = None
    network = torch.compile(model, dynamic=False) if trainer.neox and trainer.compiled else model
    loss_of = LossFunction(model, trainer.compiled)

    def step(idx: torch.Tensor) -> None:
        inputs, targets = idx[:, :-1], idx[:, 1:]
        with compute.autocast():
            if trainer.neox:
                loss = network(input_ids=inputs, labels=inputs, use_cache=False).loss
            else:
                loss = loss_of(inputs, targets)
        if loss_of.compiled != trainer.compiled:
            raise SystemExit(1)  # the reason is printed
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        compute.synchronize()

    return step


def memory_of(name: str, args: argparse.Namespace, compute: Compute) -> float | None:
    """Peak memory of a trainer in megabytes: of the GPU, or anonymous memory of a process."""
    command = [sys.executable, "-m", "benchmarks.train_speed", "--only", name]
    command += ["--batch-size", str(args.batch_size), "--device", args.device]
    if compute.device.type == "cuda":
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(result.stdout.splitlines()[-1])
    return peak_of(command)[0] if sys.platform.startswith("linux") else None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=TRAINERS, help="three steps of one, for its memory")
    args = parser.parse_args(argv)

    block_size = ModelConfig().block_size
    fast, plain = choose_compute(args.device), choose_compute(args.device, "float32")
    computes = {name: fast if t.bfloat16 else plain for name, t in TRAINERS.items()}
    batches = {
        name: torch.randint(
            4, 8192, (t.rows or args.batch_size, block_size + 1), device=fast.device
        )
        for name, t in TRAINERS.items()
    }
    # A graph for each trainer; PyTorch would leave off compiling the ninth of a function.
    torch._dynamo.config.recompile_limit = 2 * len(TRAINERS)

    if args.only:
        step = make_step(TRAINERS[args.only], computes[args.only])
        for _ in range(3):
            step(batches[args.only])
        if fast.device.type == "cuda":
            print(torch.cuda.max_memory_allocated() / 1e6)
        return 0

    memory = {name: memory_of(name, args, fast) for name in TRAINERS}
    steps = {name: make_step(trainer, computes[name]) for name, trainer in TRAINERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    peaks: dict[str, list[float]] = {name: [] for name in TRAINERS}
    order = list(TRAINERS)
    for turn in range(-args.warmup, args.steps):
        order = [*order[1:], order[0]]
        for name in order:
            peak = gemm_peak(fast, computes[name].dtype)
            started = time.perf_counter()
            steps[name](batches[name])
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
                peaks[name].append(peak)
        print(f"turn {turn + 1} of {args.steps}", file=sys.stderr)

    best: dict[torch.dtype, float] = {}
    for name, compute in computes.items():
        best[compute.dtype] = max(best.get(compute.dtype, 0.0), *peaks[name])
    with torch.device("meta"):
        flops = GPT(ModelConfig()).flops_per_token()
    rows: dict[str, dict[str, float | None]] = {}
    print(f"{fast.describe()}; batch {args.batch_size} x {block_size}; medians of {args.steps}")
    for dtype, peak in best.items():
        print(f"Best product in {str(dtype).removeprefix('torch.')}: {peak / 1e9:,.0f} GFLOP/s")
    print("| trainer | tokens/s | share of the best product | of those just before | memory, MB |")
    print("|---|---|---|---|---|")
    for name, values in seconds.items():
        tokens = batches[name].size(0) * block_size
        speed = tokens / statistics.median(values)
        shares = [tokens * flops / s / p for s, p in zip(values, peaks[name], strict=True)]
        row = rows[name] = {
            "tokens_per_second": speed,
            "share_of_best": speed * flops / best[computes[name].dtype],
            "share_of_those_before": statistics.median(shares),
            "peak_megabytes": memory[name],
        }
        of_best, of_those = row["share_of_best"], row["share_of_those_before"]
        size = f"{memory[name]:,.0f}" if memory[name] else "–"
        print(f"| {name} | {speed:,.0f} | {of_best:.1%} | {of_those:.1%} | {size} |")
    if args.json:
        result = {
            "device": fast.describe(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "batch_size": args.batch_size,
            "steps": args.steps,
            "best_product_flops": {str(dtype): peak for dtype, peak in best.items()},
            "trainers": rows,
        }
        write_json(args.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
