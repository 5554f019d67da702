"""Characters per token on held-out text for several ways to cut text before BPE.

    python -m benchmarks.pretokenizers train.txt val.txt [--vocab-size 8192] [--json FILE]

The files hold one sentence a line. The result stands in docs/EXPERIMENTS.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipeline.tokenizer import SPLIT_PATTERN, new_tokenizer, train_tokenizer

GPT2 = SPLIT_PATTERN
GPT2_DIGITS_APART = GPT2.replace(r"\p{N}+", r"\p{N}", 1)
HYPHENATED = GPT2.replace(r"\p{L}+", r"\p{L}+(?:-\p{L}+)*", 1)
MARK_WITH_WORD = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MARK_WITH_WORD_DIGITS_APART = MARK_WITH_WORD.replace(r"|\p{N}+", r"|\p{N}", 1)
WHITE_SPACE = r" ?\S+|\s+(?!\S)|\s+"

PATTERNS = {
    "GPT-2": GPT2,
    "GPT-2, digits apart": GPT2_DIGITS_APART,
    "GPT-2, hyphenated words whole": HYPHENATED,
    "Unicode-aware, a mark goes with the word after it (GPT-4, Llama 3)": MARK_WITH_WORD,
    "the same, digits apart": MARK_WITH_WORD_DIGITS_APART,
    "white space only": WHITE_SPACE,
}


def measure(
    tokenizer: Tokenizer, train: list[str], held_out: list[str], vocab_size: int
) -> dict[str, Any]:
    train_tokenizer(tokenizer, train, vocab_size)
    encodings = tokenizer.encode_batch_fast(held_out)
    lossless = all(
        tokenizer.decode(encoding.ids) == text
        for encoding, text in zip(encodings, held_out, strict=True)
    )
    n_tokens = sum(len(encoding.ids) for encoding in encodings)
    return {
        "characters_per_token": sum(map(len, held_out)) / n_tokens,
        "tokens": n_tokens,
        "vocab_size": tokenizer.get_vocab_size(),
        "lossless": lossless,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    train = args.train.read_text(encoding="utf-8").splitlines()
    held_out = args.held_out.read_text(encoding="utf-8").splitlines()
    rows = {}
    print("| pre-tokenizer | characters a token | lossless |\n|---|---|---|")
    for name, pattern in PATTERNS.items():
        for space_in_front in (False, True):
            full_name = name + (", space in front" if space_in_front else "")
            tokenizer = new_tokenizer(pattern, space_in_front)
            row = rows[full_name] = measure(tokenizer, train, held_out, args.vocab_size)
            shown = f"{row['characters_per_token']:.4f}"
            print(f"| {full_name} | {shown} | {row['lossless']} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
