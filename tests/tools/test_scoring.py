"""Rows that overlap and the Goldfish measure, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from config import BOS_ID
from model import GPT, IGNORE_INDEX
from pipeline.batches import evaluation_rows, sentence_ids
from pipeline.device import Compute
from pipeline.evaluate import total_nats
from pipeline.scoring import Text, goldfish_score, read_text, strided_nats, strided_rows

CPU = Compute(torch.device("cpu"), torch.float32, "a test")


@pytest.mark.parametrize("stride", [1, 7, 20, 31, 32])
def test_strides_by_hand(
    model: GPT, tokenizer: Tokenizer, unread: Path, log_p: Any, stride: int
) -> None:
    ids = sentence_ids(tokenizer, read_text(unread).lines * 3).tolist()
    context = model.config.block_size
    assert len(ids) > 3 * context
    expected, start = 0.0, 0
    row = log_p(model, ids[:context])
    for target in range(1, len(ids)):
        if target > start + context:
            start += stride
            row = log_p(model, ids[start : start + context])
        if ids[target] != BOS_ID:
            expected -= float(row[target - 1 - start, ids[target]])
    nats = strided_nats(model, np.array(ids, dtype=np.uint16), stride, CPU)
    assert nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stride", [1, 3, 5, 8])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 100])
def test_each_token_is_scored_once_with_its_context_before_it(length: int, stride: int) -> None:
    context = 8
    inputs, targets = torch.arange(100, 100 + length), torch.arange(101, 101 + length)
    scored = []
    for x, y in strided_rows(inputs, targets, context, stride):
        assert x.shape == y.shape
        assert x.shape[1] == context
        for row, column in (y != IGNORE_INDEX).nonzero().tolist():
            assert x[row, column] == y[row, column] - 1
            scored.append(int(y[row, column]))
            # The first target needs one token before it; later ones see at least the overlap.
            assert column >= min(context - stride, scored[-1] - 101)
    assert scored == targets.tolist()


def test_at_the_context_rows_are_those_of_training(
    model: GPT, tokenizer: Tokenizer, unread: Path
) -> None:
    ids = sentence_ids(tokenizer, read_text(unread).lines * 7)
    rows = evaluation_rows(ids, 32)
    batches = list(strided_rows(*(half.flatten() for half in evaluation_rows(ids, 1)), 32, 32))
    read = torch.cat([x for x, _ in batches]).flatten()
    assert torch.equal(read[: len(ids) - 1], rows[0].flatten()[: len(ids) - 1])
    assert torch.equal(torch.cat([y for _, y in batches]), rows[1])
    assert strided_nats(model, ids, 32, CPU) == pytest.approx(total_nats(model, *rows, CPU))


def test_goldfish_reads_a_sentence_longer_than_the_context_whole(
    model: GPT, tokenizer: Tokenizer, log_p: Any
) -> None:
    sentence = "Казан шәһәре матур һәм зур башкала! " * 6 + "Бакча."
    ids = tokenizer.encode(sentence).ids
    skipped = len(tokenizer.encode(sentence[: len(sentence) // 2]).ids)
    context = model.config.block_size
    assert skipped > context
    ids = [BOS_ID, *ids]
    expected, start = 0.0, 0
    row = log_p(model, ids[:context])
    for target in range(1, len(ids)):
        if target > start + context:
            start += context // 2
            row = log_p(model, ids[start : start + context])
        if target > skipped:
            expected -= float(row[target - 1 - start, ids[target]])
    score = goldfish_score(model, tokenizer, [sentence], CPU)
    assert score.bits == pytest.approx(expected / math.log(2), rel=1e-6)


def test_a_text_is_read_without_its_line_ends(unread: Path) -> None:
    text = read_text(unread)
    assert text.lines == unread.read_text(encoding="utf-8").splitlines()
    assert text.data == unread.read_bytes()


def test_lines_are_compared_without_the_white_space_around_them() -> None:
    text = Text(Path("text.txt"), [" Казан", "елга", "елга\t", "бакча елга"])
    assert text.lines_in(iter(["елга ", "Казан", "бакча", "шәһәр"])) == 3
