"""Scoring a text of the user's own: reading it, rows that overlap, the Goldfish measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from config import BOS_ID, PAD_ID
from model import GPT, IGNORE_INDEX
from pipeline.batches import TokenIds, evaluation_rows
from pipeline.device import Compute
from pipeline.errors import CorpusError
from pipeline.evaluate import EVALUATION_ROWS, Score, total_nats
from pipeline.files import shown

Rows = tuple[Tensor, Tensor]  # inputs and targets


@dataclass(frozen=True)
class Text:
    """The lines of a text that hold something, without their line ends."""

    path: Path
    lines: list[str]

    @property
    def data(self) -> bytes:
        """What is scored: UTF-8, a line feed after each line."""
        return "".join(line + "\n" for line in self.lines).encode("utf-8")

    def targets(self, tokens: TokenIds) -> int:
        """How many of the text's token ids are predicted: all but the <bos> of each line."""
        return len(tokens) - len(self.lines)

    def score(self, nats: float, tokens: int) -> Score:
        """What summed nats over this text come to; `tokens` are those predicted."""
        return Score(nats, tokens, sum(len(line) + 1 for line in self.lines), len(self.data))

    def lines_in(self, training: Iterable[str]) -> int:
        """How many of the lines stand in another text too, white space around them aside."""
        own = {line.strip() for line in self.lines}
        both = {known for line in training if (known := line.strip()) in own}
        return sum(line.strip() in both for line in self.lines)


def read_text(path: Path) -> Text:
    """A UTF-8 text with a sentence or a document a line; line ends may be those of Windows.

    Raises CorpusError if it is missing, a folder, empty or no UTF-8 text.
    """
    if path.is_dir():
        raise CorpusError(f"{shown(path)} is a folder. Give a text file")
    if not path.exists():
        raise CorpusError(f"{shown(path)} is not there. Give the path of a text file")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{shown(path)} is not UTF-8 text (byte {error.start:,}). Convert it, for instance "
            "with: iconv -f windows-1251 -t utf-8"
        ) from None
    except MemoryError:
        raise CorpusError(f"{shown(path)} does not fit in memory. Give a part of it") from None
    if "\0" in content:
        raise CorpusError(f"{shown(path)} holds NUL bytes, so it is no text. Give a text file")
    lines = [line.removesuffix("\r") for line in content.split("\n") if line.strip()]
    if not lines:
        raise CorpusError(f"{shown(path)} is empty: there is no text to score")
    return Text(path, lines)


def strided_rows(inputs: Tensor, targets: Tensor, context: int, stride: int) -> Iterator[Rows]:
    """Inputs and targets (N,) cut into batches of rows (at most EVALUATION_ROWS, context).

    A row begins `stride` tokens after the one before it and scores its last `stride` targets
    alone (the first row all), so that each is scored once and sees at least
    context - stride tokens before it. The last row is filled up with <pad>.
    """
    count = 1 + max(0, -(-(len(inputs) - context) // stride))
    missing = context + (count - 1) * stride - len(inputs)
    x = F.pad(inputs, (0, missing), value=PAD_ID).unfold(0, context, stride)
    y = F.pad(targets, (0, missing), value=IGNORE_INDEX).unfold(0, context, stride)
    for start in range(0, count, EVALUATION_ROWS):
        targets_once = y[start : start + EVALUATION_ROWS].clone()
        targets_once[0 if start else 1 :, : context - stride] = IGNORE_INDEX
        yield x[start : start + EVALUATION_ROWS], targets_once


def strided_nats(model: GPT, tokens: TokenIds, stride: int, compute: Compute) -> float:
    """Summed cross-entropy of a text's tokens (N,), all but <bos>, in its own order.

    With `stride` equal to the context this is what training prints of the validation split.
    """
    inputs, targets = (half.flatten() for half in evaluation_rows(tokens, block_size=1))
    batches = strided_rows(inputs, targets, model.config.block_size, stride)
    return _nats(model, batches, compute)


@dataclass(frozen=True)
class GoldfishScore:
    """Bits of the second halves of sentences, and the characters of those halves."""

    bits: float
    sentences: int
    characters: int

    @property
    def bits_per_sentence(self) -> float:
        return self.bits / self.sentences

    @property
    def bits_per_character(self) -> float:
        return self.bits / self.characters


def goldfish_score(
    model: GPT, tokenizer: Tokenizer, sentences: list[str], compute: Compute
) -> GoldfishScore:
    """How well the second half of a sentence is predicted from the first.

    The measure of Goldfish (Chang et al. 2024, arXiv:2408.10441), as their
    flores_eval_goldfish.py takes it: a sentence is stripped, encoded whole behind <bos>, and as
    many of its first losses are left out as its first len // 2 characters have tokens when they
    are encoded alone; <eos> is not scored. A sentence longer than the context is read in
    rows half of which overlap.
    """
    sentences = [sentence.strip() for sentence in sentences]
    halves = [sentence[: len(sentence) // 2] for sentence in sentences]
    context = model.config.block_size
    rows: list[Rows] = []
    for whole, half in zip(
        tokenizer.encode_batch(sentences, add_special_tokens=False),
        tokenizer.encode_batch(halves, add_special_tokens=False),
        strict=True,
    ):
        targets = torch.tensor(whole.ids)
        inputs = F.pad(targets[:-1], (1, 0), value=BOS_ID)
        targets[: len(half.ids)] = IGNORE_INDEX
        width = min(context, len(targets))
        for batch in strided_rows(inputs, targets, width, max(1, width // 2)):
            rows += zip(*batch, strict=True)
    rows.sort(key=lambda row: len(row[0]))  # like lengths together: little padding
    return GoldfishScore(
        bits=_nats(model, _batches(rows), compute) / math.log(2),
        sentences=len(sentences),
        characters=sum(map(len, sentences)) - sum(map(len, halves)),
    )


def _batches(rows: list[Rows]) -> Iterator[Rows]:
    """Rows of different lengths, filled up on the right, where nothing sees it."""
    for start in range(0, len(rows), EVALUATION_ROWS):
        inputs, targets = zip(*rows[start : start + EVALUATION_ROWS], strict=True)
        yield (
            pad_sequence(list(inputs), batch_first=True, padding_value=PAD_ID),
            pad_sequence(list(targets), batch_first=True, padding_value=IGNORE_INDEX),
        )


def _nats(model: GPT, batches: Iterable[Rows], compute: Compute) -> float:
    progress = tqdm(batches, unit=" batches", leave=False, disable=None)
    return sum((total_nats(model, *batch, compute) for batch in progress), 0.0)
