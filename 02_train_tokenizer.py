"""Stage 2: learn a byte-level BPE from data/train.txt.

    python 02_train_tokenizer.py [--vocab-size 8192] [--data-dir DIR] [--tokenizer-dir DIR]

Writes tokenizer/tokenizer.json, which plain `tokenizers` can load, and tokenizer/config.json.
"""

from __future__ import annotations

import collections
import re
import sys
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from config import SPECIAL_TOKENS, TokenizerConfig
from pipeline import flags
from pipeline.command import command
from pipeline.errors import CorpusError
from pipeline.files import (
    alone_in,
    atomic_write,
    read_json,
    sha256_of,
    sha256_of_json,
    shown,
    write_json,
)
from pipeline.prepared import load_corpus, read_sentences
from pipeline.tokenizer import (
    SPLIT_PATTERN,
    facts_of,
    new_tokenizer,
    open_tokenizer,
    train_tokenizer,
)


@command
def main(argv: list[str] | None = None) -> int:
    given = flags.parse(argv, "Stage 2: train the tokenizer.", {TokenizerConfig: None})
    config = TokenizerConfig(**given)
    with alone_in(config.tokenizer_dir):
        return make_tokenizer(config)


def make_tokenizer(config: TokenizerConfig) -> int:
    """Train, measure, then write: a mistake on the way leaves the old tokenizer whole."""
    corpus = load_corpus(config.data_dir)
    settings = {
        "corpus_sha256": corpus.train_sha256,
        "vocab_size_wanted": config.vocab_size,
        "split_pattern": SPLIT_PATTERN,
    }
    key = sha256_of_json(settings)
    if not config.force and is_up_to_date(config.tokenizer_dir, key):
        print(f"Stage 2: nothing has changed, {shown(config.tokenizer_dir)}/ is kept.")
        return 0
    if corpus.train_path.stat().st_size == 0:
        raise CorpusError(f"{shown(corpus.train_path)} is empty. Prepare more text with stage 1")

    print(f"Stage 2: training a byte-level BPE of {config.vocab_size:,} tokens on {corpus.name}")
    started = time.monotonic()
    tokenizer = new_tokenizer()
    train_tokenizer(tokenizer, read_sentences(corpus.train_path), config.vocab_size)
    print(f"  learnt in {time.monotonic() - started:.1f} s")
    if tokenizer.get_vocab_size() < config.vocab_size:
        print(
            f"  Note: this text repeats too little for {config.vocab_size:,} tokens. The "
            f"vocabulary has {tokenizer.get_vocab_size():,}, and stage 3 follows it."
        )

    path = config.tokenizer_dir / "tokenizer.json"
    content = tokenizer.to_str(pretty=True).encode("utf-8")
    measured = measure(tokenizer, corpus.val_path)
    if path.is_file() and path.read_bytes() != content:
        keep_replaced(config.tokenizer_dir)
    with atomic_write(path) as file:
        file.write(content)
    tokenizer = open_tokenizer(path)
    facts = facts_of(tokenizer) | settings | measured
    facts |= {"key": key, "corpus": corpus.name, "special_tokens": list(SPECIAL_TOKENS)}
    write_json(config.tokenizer_dir / "config.json", facts)

    print(f"  characters per token on the validation split: {facts['chars_per_token']:.3f}")
    print(f"  words kept whole: {facts['words_kept_whole']:.1%} of running words")
    print(f"  longest tokens: {', '.join(longest_tokens(tokenizer))}")
    print(f"  {facts['vocab_size']:,} tokens in {shown(path)}, sha256 {facts['sha256'][:12]}")
    return 0


def is_up_to_date(folder: Path, key: str) -> bool:
    """True if the tokenizer there is whole and was made from these inputs and settings."""
    config_path, path = folder / "config.json", folder / "tokenizer.json"
    if not (config_path.is_file() and path.is_file()):
        return False
    recorded = read_json(config_path)
    return bool(recorded.get("key") == key and recorded.get("sha256") == sha256_of(path))


def keep_replaced(folder: Path) -> None:
    """Copy a tokenizer that is about to be replaced to replaced/<hash>/: a model may need it."""
    path = folder / "tokenizer.json"
    copy = folder / "replaced" / sha256_of(path)[:12]
    for old in (path, folder / "config.json"):
        if old.is_file():
            with atomic_write(copy / old.name) as file:
                file.write(old.read_bytes())


def measure(tokenizer: Tokenizer, val_path: Path) -> dict[str, Any]:
    """Characters per token, and the share of running words that are one token."""
    n_chars = n_tokens = 0
    words: collections.Counter[str] = collections.Counter()
    for sentence in read_sentences(val_path):
        n_chars += len(sentence)
        n_tokens += len(tokenizer.encode(sentence).ids)
        words.update(re.findall(r"[^\W\d_]+", sentence))
    whole = sum(n for word, n in words.items() if len(tokenizer.encode(word).ids) == 1)
    return {
        "chars_per_token": n_chars / max(1, n_tokens),
        "words_kept_whole": whole / max(1, words.total()),
    }


def longest_tokens(tokenizer: Tokenizer, n: int = 10) -> list[str]:
    """The longest tokens as text."""
    texts = (tokenizer.decode([i]).strip() for i in range(tokenizer.get_vocab_size()))
    return sorted(texts, key=lambda text: (-len(text), text))[:n]


if __name__ == "__main__":
    sys.exit(main())
