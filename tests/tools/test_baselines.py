"""What a network must beat: the n-gram model against its definition, and xz."""

from __future__ import annotations

import lzma
import math
import random
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from config import BOS_ID, EOS_ID, PAD_ID
from pipeline.baselines import FALLBACK_DISCOUNTS, KneserNey, discounts_of, xz_bits
from pipeline.evaluate import unigram_loss
from pipeline.training_text import load_training_text

Sentence = list[int]


def stream(sentences: list[Sentence]) -> np.ndarray:
    """Token ids with <bos> and <eos> around each sentence."""
    ids = [i for sentence in sentences for i in (BOS_ID, *sentence, EOS_ID)]
    return np.array(ids, dtype=np.uint16)


def random_sentences(count: int, seed: int, words: range) -> list[Sentence]:
    """Sentences in which frequent words recur in the company of one another."""
    rng = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [rng.choices(words, weights, k=rng.randint(0, 9)) for _ in range(count)]


class ByDefinition:
    """Interpolated modified Kneser-Ney from dictionaries of tuples."""

    def __init__(self, sentences: list[Sentence], vocab_size: int, order: int) -> None:
        self.vocab_size = vocab_size
        plain: dict[int, Counter] = {n: Counter() for n in range(1, order + 1)}
        for sentence in sentences:
            ids = (BOS_ID, *sentence, EOS_ID)
            for n in plain:
                plain[n].update(ids[i : i + n] for i in range(len(ids) - n + 1))
        self.counts: list[dict[tuple, int]] = []
        for n in range(1, order + 1):
            left = defaultdict(set)
            for gram in plain.get(n + 1, ()):
                left[gram[1:]].add(gram[0])
            self.counts.append(
                {
                    gram: count if n == order or gram[0] == BOS_ID else len(left[gram])
                    for gram, count in plain[n].items()
                    if gram != (BOS_ID,)
                }
            )
        self.discounts = []
        for counts in self.counts:
            n1, n2, n3, n4 = (list(counts.values()).count(k) for k in (1, 2, 3, 4))
            discounts = list(FALLBACK_DISCOUNTS)
            if n1 and n2 and n3 and n4:
                y = n1 / (n1 + 2 * n2)
                own = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
                discounts = own if min(own) >= 0 else discounts
            self.discounts.append(discounts)

    def probability(self, context: tuple, token: int) -> float:
        counts, discounts = self.counts[len(context)], self.discounts[len(context)]
        p = self.probability(context[1:], token) if context else 1 / (self.vocab_size - 2)
        there = [count for gram, count in counts.items() if gram[:-1] == context]
        if not there:
            return p
        count = counts.get((*context, token), 0)
        given = sum(discounts[min(c, 3)] for c in there)
        return (count - discounts[min(count, 3)] + given * p) / sum(there)


@pytest.mark.parametrize(("first_word", "vocab_size"), [(4, 16), (65_000, 65_535)])
@pytest.mark.parametrize("order", [2, 3, 5])
def test_it_is_kneser_ney(first_word: int, vocab_size: int, order: int) -> None:
    words = range(first_word, first_word + 8)
    train = random_sentences(150, 1, words)
    test = [*random_sentences(12, 2, range(first_word, first_word + 10)), *train[:5], [], []]
    reference = ByDefinition(train, vocab_size, order)
    model = KneserNey(stream(train), vocab_size, order)
    assert any(d != list(FALLBACK_DISCOUNTS) for d in reference.discounts)
    expected = []
    for sentence in test:
        ids = (BOS_ID, *sentence, EOS_ID)
        expected.append(1.0)
        expected += [
            reference.probability(ids[max(0, i - order + 1) : i], ids[i])
            for i in range(1, len(ids))
        ]
    assert model.probabilities(stream(test)) == pytest.approx(expected, rel=1e-9)
    assert model.nats(stream(test)) == pytest.approx(-sum(map(math.log, expected)))


CONTEXTS = [
    [],  # the beginning of a sentence
    [4],
    [4, 5, 4, 5],  # seen or partly seen
    [11, 11, 11, 11],  # all of it unseen
    [12],  # a word that the training text does not have
    [4, 12, 4],
    [4, 5, 6, 4, 5, 6, 4, 5],
]


def probabilities_after(model: KneserNey, context: Sentence, vocab_size: int) -> np.ndarray:
    """Of every token but <bos> and <pad>."""
    tokens = [i for i in range(vocab_size) if i not in (BOS_ID, PAD_ID)]
    ids = np.array([[BOS_ID, *context, token] for token in tokens], dtype=np.uint16)
    return model.probabilities(ids.flatten()).reshape(ids.shape)[:, -1]


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
@pytest.mark.parametrize("sentences", [150, 3, 1], ids=lambda n: f"{n} sentences")
def test_probabilities_add_up_to_one(context: Sentence, sentences: int) -> None:
    vocab_size = 14
    train = random_sentences(sentences, 1, range(4, 12))
    model = KneserNey(stream(train), vocab_size)
    p = probabilities_after(model, context, vocab_size)
    assert len(p) == vocab_size - 2
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_many_contexts_of_many_words_are_told_apart() -> None:
    vocab_size = 65_535  # times the contexts: more than 32 bits hold
    rng = random.Random(1)
    train = [[rng.randrange(4, vocab_size) for _ in range(70_000)]]
    model = KneserNey(stream(train), vocab_size, order=2)
    assert len(model.orders[0].keys) * vocab_size > 2**31
    p = probabilities_after(model, train[0][:1], vocab_size)
    assert p.sum() == pytest.approx(1)
    assert p.argmax() == train[0][1] - 2  # <bos> and <pad> are not among them


@pytest.mark.parametrize("train", [[[]], [[4]], [[4], [], [5]]], ids=str)
def test_a_training_text_without_long_n_grams_will_do(train: list[Sentence]) -> None:
    model = KneserNey(stream(train), 8)
    for context in ([], [4], [5, 4, 4, 4, 4]):
        assert probabilities_after(model, context, 8).sum() == pytest.approx(1)


def test_sentences_do_not_see_one_another() -> None:
    sentences = random_sentences(20, 2, range(4, 12))
    model = KneserNey(stream(random_sentences(150, 1, range(4, 12))), 14)
    together = model.probabilities(stream(sentences))
    alone = [model.probabilities(stream([sentence])) for sentence in sentences]
    assert np.array_equal(together, np.concatenate(alone))


def test_five_grams_know_a_text_that_goes_on_as_it_must(prepared: Any) -> None:
    text = load_training_text(prepared.data, prepared.tokenizer)
    nats = KneserNey(text.train, text.vocab_size).nats(text.val) / text.val_targets
    assert nats < 0.1 * unigram_loss(text.train, text.val, text.vocab_size)


def test_discounts_by_hand() -> None:
    # Eight n-grams seen once, four twice, two three times, one four times: y = 8 / 16.
    counts = np.repeat([0, 1, 2, 3, 4, 9], [5, 8, 4, 2, 1, 1])
    assert discounts_of(counts) == pytest.approx([0, 1 - 0.5, 2 - 0.75, 3 - 1])


@pytest.mark.parametrize("counts", [[], [1, 1, 2, 3, 5], np.repeat([1, 2, 3, 4], [1, 1, 9, 1])])
def test_odd_counts_take_the_discounts_of_kenlm(counts: Any) -> None:
    assert discounts_of(np.array(counts, dtype=np.int64)).tolist() == list(FALLBACK_DISCOUNTS)


def test_xz_needs_little_for_what_it_has_read_however_long_ago() -> None:
    noise = random.Random(1).randbytes(200_000)
    known, unknown = noise[:4000], random.Random(2).randbytes(4000)
    bits = xz_bits(noise, [known, unknown])
    assert bits[0] < 8 * 400
    assert 8 * 3990 < bits[1] < 8 * 4100


def test_xz_is_what_python_makes_of_both_less_what_it_makes_of_one() -> None:
    words = ["Казан ", "шәһәре ", "матур ", "елга "]
    pick = random.Random(3)
    train, text = ("".join(pick.choices(words, k=n)).encode() for n in (2000, 300))

    def size(data: bytes) -> int:
        return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))

    # The container rounds each size up to four bytes.
    assert xz_bits(train, [text])[0] / 8 == pytest.approx(size(train + text) - size(train), abs=4)
    assert xz_bits(train, [text])[0] / 8 < size(text) - 40
