"""Speed of generation: this engine, Hugging Face's GPT-NeoX, and a loop without a cache.

    python -m benchmarks.generate_speed [--tokens 200] [--turns 5] [--json FILE]

The same `base` weights in all three, float32, a prompt of 32 tokens, <eos> ignored; all take turns,
so that a slow minute of the machine hits each alike, and a figure is the median. First token: from
the prompt to the first one. Needs transformers (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.neox import as_neox
from config import BOS_ID, EOS_ID, ModelConfig
from model import GPT
from pipeline.device import choose_compute
from pipeline.files import write_json
from pipeline.generate import Generation, Sampling

PROMPT_TOKENS = 32
BATCH = 16


def with_cache(model: GPT, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    sampling = Sampling(max_new_tokens=tokens, temperature=0, stop_at_eos=False)
    generation = Generation(model, prompts, [sampling] * len(prompts))
    while generation.growing:
        generation.step()
    return [ids[1:] for ids in generation.ids]


@torch.inference_mode()
def without_cache(model: GPT, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    texts = [[BOS_ID, *prompt] for prompt in prompts]
    for _ in range(tokens):
        window = torch.tensor(texts)[:, -model.config.block_size :]
        logits = model.head(model.hidden(window)[:, -1])
        logits[:, :4] = -torch.inf  # as below: <eos> is ignored
        for ids, token in zip(texts, logits.argmax(-1).tolist(), strict=True):
            ids.append(token)
    return [ids[1:] for ids in texts]


@torch.inference_mode()
def hugging_face(neox: Any, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    idx = torch.tensor([[BOS_ID, *prompt] for prompt in prompts])
    found = neox.generate(
        idx, attention_mask=torch.ones_like(idx), max_new_tokens=tokens, do_sample=False,
        suppress_tokens=[0, 1, 2, 3], eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return [ids[1:] for ids in found.tolist()]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    model = GPT(ModelConfig()).eval()
    with torch.no_grad():
        # So that <eos> is never the likeliest token, for any of the three.
        model.embedding.weight[EOS_ID] = 0.0
    neox = as_neox(model)
    plain = GPT(ModelConfig()).eval()
    plain.load_state_dict(model.state_dict())
    model.for_generation()
    prompts = torch.randint(4, 8192, (BATCH, PROMPT_TOKENS - 1)).tolist()
    one = prompts[:1]
    ways: dict[str, tuple[int, Callable[[], list[list[int]]]]] = {
        "this engine": (args.tokens, lambda: with_cache(model, one, args.tokens)),
        "this engine, a batch of 16": (
            BATCH * args.tokens,
            lambda: with_cache(model, prompts, args.tokens),
        ),
        "Hugging Face": (args.tokens, lambda: hugging_face(neox, one, args.tokens)),
        "Hugging Face, a batch of 16": (
            BATCH * args.tokens,
            lambda: hugging_face(neox, prompts, args.tokens),
        ),
        "a loop without a cache": (args.tokens, lambda: without_cache(plain, one, args.tokens)),
        "first token of this engine": (1, lambda: with_cache(model, one, 1)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    texts = {}
    for turn in range(-1, args.turns):  # the first one warms up
        for name, (_, write) in ways.items():
            started = time.perf_counter()
            texts[name] = write()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
        print(f"turn {turn + 1} of {args.turns}", file=sys.stderr)
    alike = [texts[name][0] == texts["this engine"][0] for name in list(ways)[1:5]]

    speed = {name: ways[name][0] / statistics.median(values) for name, values in seconds.items()}
    print(f"{choose_compute('cpu', 'float32').describe()}; medians of {args.turns}")
    print(f"| one prompt of {PROMPT_TOKENS} tokens, {args.tokens} new ones | tokens/s |")
    print("|---|---|")
    for name in list(ways)[:5]:
        print(f"| {name} | {speed[name]:,.0f} |")
    own = speed["this engine"]
    first = statistics.median(seconds["first token of this engine"])
    print(f"{own / speed['Hugging Face']:.2f} times Hugging Face,", end=" ")
    print(f"{own / speed['a loop without a cache']:.1f} times a loop without a cache;", end=" ")
    print(f"the batch {speed['this engine, a batch of 16'] / own:.1f} times one prompt;", end=" ")
    print(f"first token after {1000 * first:.0f} ms; the same text in all: {all(alike)}")
    if args.json:
        result = {
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY", "PyTorch's own"),
            "prompt_tokens": PROMPT_TOKENS,
            "new_tokens": args.tokens,
            "tokens_per_second": dict(list(speed.items())[:5]),
            "first_token_seconds": first,
            "same_text": all(alike),
        }
        write_json(args.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
