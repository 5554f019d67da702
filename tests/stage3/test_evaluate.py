"""The one loss that validation, perplexity and bits per byte share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from config import BOS_ID, ModelConfig
from model import GPT, IGNORE_INDEX
from pipeline.batches import evaluation_rows
from pipeline.device import Compute
from pipeline.evaluate import Score, total_nats, unigram_loss
from pipeline.training_text import load_training_text

CPU = Compute(torch.device("cpu"), torch.float32, "a test")


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(ModelConfig(2, 2, 32, 16, 320, dropout=0.5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


def test_total_is_the_sum_of_the_log_probabilities(model: GPT, prepared: Any) -> None:
    text = load_training_text(prepared.data, prepared.tokenizer)
    inputs, targets = evaluation_rows(text.val, 16)
    by_hand, counted = 0.0, 0
    model.eval()
    with torch.no_grad():
        for x, y in zip(inputs, targets, strict=True):
            log_p = torch.log_softmax(model(x[None])[0].double(), dim=-1)
            for t in range(16):
                if y[t] != IGNORE_INDEX:
                    by_hand -= float(log_p[t, y[t]])
                    counted += 1
    assert total_nats(model, inputs, targets, CPU) == pytest.approx(by_hand, rel=1e-6)
    assert counted == text.val_targets == len(text.val) - (text.val == BOS_ID).sum()


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 1000])
def test_total_does_not_depend_on_the_rows_of_a_batch(
    model: GPT, prepared: Any, batch_rows: int
) -> None:
    text = load_training_text(prepared.data, prepared.tokenizer)
    rows = tuple(half[:41] for half in evaluation_rows(text.val, 16))
    assert len(rows[0]) == 41
    expected = total_nats(model, *rows, CPU)
    assert total_nats(model, *rows, CPU, batch_rows) == pytest.approx(expected, rel=1e-7)


def test_evaluation_uses_no_dropout_and_leaves_the_mode_as_it_was(model: GPT) -> None:
    rows = evaluation_rows(np.arange(2, 200, dtype=np.uint16), 16)
    state = torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        totals = {total_nats(model, *rows, CPU) for _ in range(2)}
        assert len(totals) == 1
        assert all(module.training is training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_score_in_all_its_units() -> None:
    score = Score(nats=20 * math.log(2), tokens=10, characters=8, bytes=16)
    assert score.loss == pytest.approx(2 * math.log(2))
    assert score.perplexity == pytest.approx(4)
    assert score.bits_per_character == pytest.approx(20 / 8)
    assert score.bits_per_byte == pytest.approx(20 / 16)


def test_a_hopeless_score_is_still_a_number() -> None:
    assert math.isfinite(Score(nats=1e6, tokens=1, characters=1, bytes=1).perplexity)


def test_validation_counts_line_ends_and_utf8_bytes(workspace: Any, corpus_writer: Any) -> None:
    corpus_writer(workspace.data, ["Казан"] * 3, ["үсә!", "ab"])
    text = load_training_text(workspace.data, workspace.tokenizer)
    score = text.score(nats=3.0)
    assert score.characters == 4 + 1 + 2 + 1
    assert score.bytes == 7 + 1 + 2 + 1
    assert score.tokens == len(text.val) - 2
    assert score.nats == 3.0


def test_unigram_loss_by_hand() -> None:
    # Eight tokens; counts plus one of all but <bos>: 1, 1, 3 (<eos>), 3, 2, 1, 1 make 12.
    train = np.array([2, 4, 4, 3, 2, 5, 3], dtype=np.uint16)
    val = np.array([2, 4, 6, 3], dtype=np.uint16)
    expected = -(math.log(3 / 12) + math.log(1 / 12) + math.log(3 / 12)) / 3
    assert unigram_loss(train, val, vocab_size=8) == pytest.approx(expected)


def test_unigram_loss_of_a_long_text() -> None:
    # Three of four tokens are the same, and they stand first.
    train = np.repeat(np.array([4, 5], dtype=np.uint16), [6_000_000, 2_000_000])
    val = np.array([4, 4, 4, 5], dtype=np.uint16)
    expected = -(3 * math.log(0.75) + math.log(0.25)) / 4
    assert unigram_loss(train, val, 6) == pytest.approx(expected, rel=1e-5)
