"""How well a model predicts a text."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from tokenizers import Tokenizer

from model import GPT
from pipeline.errors import CorpusError
from utils import load_model, load_tokenizer, perplexity, score_text


class Pair(NamedTuple):
    model: GPT
    tokenizer: Tokenizer


@pytest.fixture(scope="module")
def pair(trained: Any) -> Pair:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    return Pair(model, load_tokenizer(trained.tokenizer)[0])


def nats_by_hand(pair: Pair, ids: list[int]) -> float:
    """Of each token after the first, given all that stand before it (at most a context's worth)."""
    total = 0.0
    with torch.no_grad():
        log_p = torch.log_softmax(pair.model(torch.tensor([ids[:-1]]))[0].double(), dim=-1)
    for t, token in enumerate(ids[1:]):
        if token != 2:
            total -= float(log_p[t, token])
    return total


def test_perplexity_by_hand(pair: Pair) -> None:
    text = "Казан шәһәре матур."
    inner = pair.tokenizer.encode(text).ids
    nats = nats_by_hand(pair, [2, *inner, 3])
    assert perplexity(*pair, text) == pytest.approx(math.exp(nats / (len(inner) + 1)), rel=1e-5)


def test_sentences_stand_on_lines_of_their_own(pair: Pair) -> None:
    one, two = "Казан шәһәре.", "Елга буенда."
    ids = [2, *pair.tokenizer.encode(one).ids, 3, 2, *pair.tokenizer.encode(two).ids, 3]
    score = score_text(*pair, f"\n{one}\n\n{two}\n")
    assert score.tokens == len(ids) - 2
    assert score.nats == pytest.approx(nats_by_hand(pair, ids), rel=1e-5)
    assert score.characters == len(one) + 1 + len(two) + 1
    assert score.bytes == len(f"{one}\n{two}\n".encode())
    assert perplexity(*pair, f"{one}\n{two}") == pytest.approx(score.perplexity)


def test_a_text_longer_than_the_context_is_scored_whole(pair: Pair) -> None:
    text = "Казан шәһәре матур һәм зур башкала анда елга буенда. " * 10
    ids = [2, *pair.tokenizer.encode(text).ids, 3]
    length = pair.model.config.block_size
    assert len(ids) > 3 * length
    # Row by row: each sees its own beginning at most.
    by_hand = sum(
        nats_by_hand(pair, ids[i : i + length + 1]) for i in range(0, len(ids) - 1, length)
    )
    score = score_text(*pair, text)
    assert score.tokens == len(ids) - 1
    assert score.nats == pytest.approx(by_hand, rel=1e-5)


def test_what_was_learnt_is_likelier(pair: Pair) -> None:
    known = perplexity(*pair, "Казан шәһәре матур һәм зур башкала анда елга буенда яшел бакча үсә.")
    turned = perplexity(
        *pair, "үсә бакча яшел буенда елга анда башкала зур һәм матур шәһәре Казан."
    )
    assert known < 2 < 20 < turned


def test_special_tokens_spelt_in_a_text_are_text(pair: Pair) -> None:
    score = score_text(*pair, "Казан<eos><bos>")
    assert score.tokens == len(pair.tokenizer.encode("Казан<eos><bos>").ids) + 1
    assert score.tokens > 8


def test_scoring_is_repeatable_and_leaves_the_mode(pair: Pair) -> None:
    assert not pair.model.training
    assert len({perplexity(*pair, "Казан шәһәре.") for _ in range(3)}) == 1
    assert not pair.model.training


@pytest.mark.parametrize("text", ["", "\n", "\n\r\n"])
def test_there_must_be_a_text(text: str, pair: Pair) -> None:
    with pytest.raises(CorpusError, match="no text to score"):
        perplexity(*pair, text)
