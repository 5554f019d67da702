"""The byte-level BPE: how it cuts text, how it is trained, how it is read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from config import BOS_ID, EOS_ID, MAX_VOCAB_SIZE, PAD_ID, SPECIAL_TOKENS, UNK_ID
from pipeline.errors import TokenizerError
from pipeline.files import read_json, sha256_of, shown

# GPT-2's cut (Radford et al. 2019) without its English contractions: letters with the space before
# them, digits, other marks. Chosen by measurement on held-out text (docs/EXPERIMENTS.md).
SPLIT_PATTERN = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def new_tokenizer(split_pattern: str = SPLIT_PATTERN, space_in_front: bool = True) -> Tokenizer:
    """An untrained tokenizer. Every byte has a token, so no text is out of its reach.

    With `space_in_front` the first word of a text gets the space that other words have, so that
    a word is the same token wherever it stands; decoding takes exactly that space off again.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[UNK_ID]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split_pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if space_in_front:
        tokenizer.normalizer = normalizers.Prepend(" ")
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def train_tokenizer(tokenizer: Tokenizer, sentences: Iterable[str], vocab_size: int) -> None:
    """Learn merges until there are `vocab_size` tokens or nothing is left to merge."""
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)


def load_tokenizer(tokenizer_dir: str | Path = "tokenizer") -> tuple[Tokenizer, dict[str, Any]]:
    """The trained tokenizer and its facts.

    Text that spells `<bos>` is text, not the special token; lone surrogates, which no UTF-8 text
    can hold, become U+FFFD. The dict has bos_token_id, eos_token_id, pad_token_id, unk_token_id,
    vocab_size and sha256 (of tokenizer.json), and what stage 2 recorded in config.json beside.
    Raises TokenizerError if the tokenizer is missing, broken, or not one of ours.
    """
    folder = Path(tokenizer_dir)
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    config_path = folder / "config.json"
    recorded = read_json(config_path) if config_path.is_file() else {}
    return tokenizer, recorded | facts_of(tokenizer)


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file, checked to be one of ours. Raises TokenizerError."""
    if not path.is_file():
        raise TokenizerError(f"{shown(path)} is not there. Train one with: bash run_pipeline.sh")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:  # plain Exception, or the library's own PanicException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        reason = str(error) or type(error).__name__
        raise TokenizerError(
            f"{shown(path)} is not a tokenizer ({reason}). Make it anew with: "
            "python 02_train_tokenizer.py --force"
        ) from None
    for token_id, token in enumerate(SPECIAL_TOKENS):
        if tokenizer.token_to_id(token) != token_id:
            raise TokenizerError(
                f"{shown(path)} has no {token} as id {token_id}, so it is not a tokenizer of this "
                "project. Make one with: python 02_train_tokenizer.py --force"
            )
    if max(tokenizer.get_vocab().values()) >= tokenizer.get_vocab_size():
        raise TokenizerError(
            f"{shown(path)} has gaps between its token ids. Make one with: "
            "python 02_train_tokenizer.py --force"
        )
    if tokenizer.get_vocab_size() > MAX_VOCAB_SIZE:
        raise TokenizerError(
            f"{shown(path)} has {tokenizer.get_vocab_size():,} tokens, and at most "
            f"{MAX_VOCAB_SIZE:,} will do. Make one with: python 02_train_tokenizer.py --force"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    _replace_lone_surrogates(tokenizer)
    tokenizer.sha256 = sha256_of(path)  # type: ignore[attr-defined]
    return tokenizer


def facts_of(tokenizer: Tokenizer) -> dict[str, Any]:
    """What is known of an opened tokenizer without config.json."""
    return {
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
        "unk_token_id": UNK_ID,
        "vocab_size": tokenizer.get_vocab_size(),
        "sha256": tokenizer.sha256,  # type: ignore[attr-defined]
    }


def valid_unicode(text: str) -> str:
    """The text with U+FFFD for each lone surrogate."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _replace_lone_surrogates(tokenizer: Tokenizer) -> None:
    """Put a cleaning step before `encode` and `encode_batch` of this one tokenizer.

    The library's class cannot be subclassed, but its instances take attributes.
    """
    encode: Callable[..., Any] = tokenizer.encode
    encode_batch: Callable[..., Any] = tokenizer.encode_batch

    def encode_text(sequence: str, *args: Any, **kwargs: Any) -> Any:
        return encode(valid_unicode(sequence), *args, **kwargs)

    def encode_texts(input: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        return encode_batch([valid_unicode(text) for text in input], *args, **kwargs)

    tokenizer.encode = encode_text  # type: ignore[method-assign]
    tokenizer.encode_batch = encode_texts  # type: ignore[method-assign]
