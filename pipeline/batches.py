"""Token ids on disk, and the rows that training and evaluation take from them.

Every sentence stands between <bos> and <eos>. Training reads one endless stream: epoch after
epoch, each with the sentences in a new order, cut into rows of `block_size` without padding; the
tail of an epoch opens the first row of the next. So the number of rows read so far says all there
is to know about the position: nothing else needs saving to go on exactly, and rows do not depend
on how they are grouped into batches.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from config import BOS_ID, EOS_ID, PAD_ID
from model import IGNORE_INDEX
from pipeline.errors import TrainingError
from pipeline.files import alone_in, atomic_write, shown
from pipeline.prepared import count_lines, read_sentences

TokenIds = npt.NDArray[np.uint16]

# Sentences given to the tokenizer at once: enough to keep all cores busy, little memory.
SENTENCES_PER_CHUNK = 4096


def cached_tokens(
    text_path: Path, text_sha256: str, tokenizer: Tokenizer, tokenizer_sha256: str
) -> TokenIds:
    """The token ids of a text, a memory-mapped (N,) uint16 array.

    They lie in cache/ beside the text, in a file named by the hashes of the text and of the
    tokenizer; what has other hashes, or is damaged, is made anew.
    """
    name = f"{text_path.stem}-{text_sha256[:12]}-{tokenizer_sha256[:12]}.npy"
    path = text_path.parent / "cache" / name
    if path.is_file():
        tokens = _read_tokens(path, tokenizer.get_vocab_size())
        if tokens is not None and int((tokens == BOS_ID).sum()) == count_lines(text_path):
            return tokens
        print(f"  {shown(path)} is damaged; making it anew")
    with alone_in(path.parent):
        print(f"  Encoding {shown(text_path)}")
        for stale in path.parent.glob(f"{text_path.stem}-*.npy*"):
            stale.unlink(missing_ok=True)
        lines = tqdm(read_sentences(text_path), unit=" sentences", unit_scale=True, disable=None)
        _write_tokens(path, encode_sentences(tokenizer, lines))
    return np.lib.format.open_memmap(path, mode="r")


def _read_tokens(path: Path, vocab_size: int) -> TokenIds | None:
    """The array in a cache file, or None if it is not what `_write_tokens` wrote."""
    try:
        tokens = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # NumPy parses the header with Python's own tokenizer, among others
        return None
    is_ours = (
        tokens.dtype == np.uint16
        and tokens.ndim == 1
        and len(tokens) > 0
        and tokens[0] == BOS_ID
        and tokens[-1] == EOS_ID
        and int(tokens.max()) < vocab_size
    )
    return tokens if is_ours else None


def encode_sentences(tokenizer: Tokenizer, sentences: Iterable[str]) -> Iterator[TokenIds]:
    """Chunks of token ids, each sentence between <bos> and <eos>."""
    sentences = iter(sentences)
    while chunk := list(itertools.islice(sentences, SENTENCES_PER_CHUNK)):
        yield sentence_ids(tokenizer, chunk)


def sentence_ids(tokenizer: Tokenizer, sentences: list[str]) -> TokenIds:
    """(N,) token ids, each sentence between <bos> and <eos>."""
    ids: list[int] = []
    for encoding in tokenizer.encode_batch(sentences, add_special_tokens=False):
        ids.append(BOS_ID)
        ids.extend(encoding.ids)
        ids.append(EOS_ID)
    return np.array(ids, dtype=np.uint16)


def _write_tokens(path: Path, chunks: Iterable[TokenIds]) -> None:
    """Write a .npy file whose length is known only at its end."""
    header = {"descr": "<u2", "fortran_order": False}
    count = 0
    with atomic_write(path) as file:
        # NumPy leaves room in the header for the first axis to grow in place.
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (0,)})
        start = file.tell()
        for ids in chunks:
            file.write(ids.astype("<u2").tobytes())
            count += len(ids)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (count,)})
        assert file.tell() == start


class TrainingRows:
    """The endless stream of training rows over (N,) token ids."""

    def __init__(self, tokens: TokenIds, block_size: int, seed: int) -> None:
        self.tokens = tokens
        self.block_size = block_size
        self.seed = seed
        self.starts = np.flatnonzero(tokens == BOS_ID)  # (S,) where each sentence begins
        self.lengths = np.diff(self.starts, append=len(tokens))
        # Two epochs, for the row that lies across their border.
        self._order = functools.lru_cache(maxsize=2)(self._make_order)

    def rows(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Rows `first` to `first + count - 1` of the stream: inputs and targets.

        Both are (count, block_size) int64. <bos> is never a target: IGNORE_INDEX stands there.
        """
        length = count * self.block_size
        stream = self._read(first * self.block_size, length + 1).astype(np.int64)
        inputs = torch.from_numpy(stream[:-1]).view(count, self.block_size)
        targets = torch.from_numpy(np.where(stream[1:] == BOS_ID, IGNORE_INDEX, stream[1:]))
        return inputs, targets.view(count, self.block_size)

    def epochs(self, rows: int) -> float:
        """How often `rows` rows go through the text."""
        return rows * self.block_size / len(self.tokens)

    def _read(self, position: int, count: int) -> TokenIds:
        """`count` tokens of the stream from `position` on."""
        pieces = []
        while count:
            epoch, offset = divmod(position, len(self.tokens))
            piece = self._read_epoch(epoch, offset, min(count, len(self.tokens) - offset))
            pieces.append(piece)
            position += len(piece)
            count -= len(piece)
        return np.concatenate(pieces)

    def _read_epoch(self, epoch: int, offset: int, count: int) -> TokenIds:
        order, ends = self._order(epoch)
        first = int(np.searchsorted(ends, offset, side="right"))
        last = int(np.searchsorted(ends, offset + count, side="left"))
        sentences = order[first : last + 1]
        lengths = self.lengths[sentences]
        # Index of every token of these sentences: its sentence's start, plus its place in it.
        begins = np.cumsum(lengths) - lengths
        index = np.repeat(self.starts[sentences] - begins, lengths) + np.arange(lengths.sum())
        skip = offset - (int(ends[first]) - int(lengths[0]))
        return self.tokens[index[skip : skip + count]]

    def _make_order(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The order of the sentences in an epoch, and where each ends in its stream."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        order = generator.permutation(len(self.starts))
        return order, np.cumsum(self.lengths[order])


def evaluation_rows(tokens: TokenIds, block_size: int) -> tuple[Tensor, Tensor]:
    """A text in its own order as (R, block_size) int64 inputs and targets.

    Every token but <bos> is a target exactly once; the last row is filled up with <pad>, whose
    targets are ignored.
    """
    count = -(-(len(tokens) - 1) // block_size)
    stream = np.full(count * block_size + 1, PAD_ID, dtype=np.int64)
    stream[: len(tokens)] = tokens
    targets = np.where(stream[1:] == BOS_ID, IGNORE_INDEX, stream[1:])
    targets[len(tokens) - 1 :] = IGNORE_INDEX
    shape = (count, block_size)
    return torch.from_numpy(stream[:-1]).view(shape), torch.from_numpy(targets).view(shape)


def check_lengths(train: TokenIds, val: TokenIds, block_size: int) -> None:
    """Raise TrainingError unless both splits fill at least one row."""
    for name, tokens in (("training", train), ("validation", val)):
        if len(tokens) < block_size + 1:
            raise TrainingError(
                f"the {name} split has {len(tokens)} tokens, and a row takes {block_size + 1}. "
                "Prepare more text, or a larger share of it: python 01_prepare_data.py "
                "--val-fraction 0.2"
            )
