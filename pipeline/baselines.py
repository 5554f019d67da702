"""What a network must beat: an n-gram model and a compressor that have read the same text.

The n-gram model is interpolated modified Kneser-Ney (S. Chen, J. Goodman: An Empirical Study of
Smoothing Techniques for Language Modeling, TR-10-98, Harvard 1998), as KenLM computes it
(Heafield et al. 2013, https://aclanthology.org/P13-2121): what stands at the beginning of a
sentence keeps its plain count, because nothing can stand before it.
"""

from __future__ import annotations

import lzma
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config import BOS_ID
from pipeline.batches import TokenIds
from pipeline.evaluate import Score, unigram_loss
from pipeline.scoring import Text

ORDER = 5

# For a text too small to estimate them from; KenLM's (--discount_fallback).
FALLBACK_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)

# The largest dictionary that liblzma's encoder takes.
MAX_DICTIONARY = 3 << 29

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def baseline_scores(
    texts: list[Text],
    encoded: list[TokenIds],
    train: TokenIds,
    training_text: bytes,
    vocab_size: int,
) -> list[dict[str, Score]]:
    """By name, how well each baseline predicts each text; `encoded` are the texts' token ids."""
    grams = KneserNey(train, vocab_size)
    compressed = xz_bits(training_text, [text.data for text in texts])
    results = []
    for text, tokens, bits in zip(texts, encoded, compressed, strict=True):
        targets = text.targets(tokens)
        nats = {
            f"{ORDER}-grams, Kneser-Ney": grams.nats(tokens),
            "unigrams": targets * unigram_loss(train, tokens, vocab_size),
            "xz -9e": bits * math.log(2),
        }
        results.append({name: text.score(value, targets) for name, value in nats.items()})
    return results


@dataclass(frozen=True)
class NGrams:
    """All n-grams of one length, U of them, and the C contexts of one token less.

    The id of an n-gram is its place in `keys`; a key is `context id * vocab_size + last token`.
    At the end of `keys` and `counts` stands one that no text has, so that id -1 has a count of 0.
    """

    keys: Integers  # (U + 1,) sorted
    counts: Integers  # (U + 1,) adjusted: how many different tokens stand before it
    discounts: Floats  # (4,) what a count of 0, 1, 2, 3 or more gives away
    totals: Floats  # (C,) sum of the counts in each context
    backoff: Floats  # (C,) the share of each context that goes to the n-grams below

    @classmethod
    def make(cls, keys: Integers, counts: Integers, contexts: int, vocab_size: int) -> NGrams:
        discounts = discounts_of(counts)
        context = keys // vocab_size
        totals = np.bincount(context, counts, minlength=contexts).astype(np.float64)
        given = np.bincount(context, discounts[np.minimum(counts, 3)], minlength=contexts)
        keys, counts = np.append(keys, np.iinfo(np.int64).max), np.append(counts, 0)
        return cls(keys, counts, discounts, totals, given / np.maximum(totals, 1))

    def find(self, keys: Integers) -> Integers:
        """The ids of n-grams by their keys, -1 where there is none."""
        place = np.searchsorted(self.keys, keys)
        return np.where(self.keys[place] == keys, place, -1)


class KneserNey:
    """An n-gram model of token ids (N,), each sentence between <bos> and <eos>.

    No context reaches over <bos>, which itself is never predicted. Sorted arrays hold all there
    is: about 200 bytes a token of training text at the peak.
    """

    def __init__(self, tokens: TokenIds, vocab_size: int, order: int = ORDER) -> None:
        assert order > 1
        self.vocab_size = vocab_size
        self.orders: list[NGrams] = []
        keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        contexts, ids = 1, np.zeros(len(tokens), np.int64)
        for n in range(1, order + 1):
            follows, its_keys = self._keys(tokens, ids, n)
            longer, first, inverse, plain = np.unique(
                its_keys, return_index=True, return_inverse=True, return_counts=True
            )
            first = np.flatnonzero(follows)[first]  # (U,) where each n-gram first ends
            if n > 1:
                # Each n-gram is one more token in front of the one it ends with.
                counts += np.bincount(ids[first], minlength=len(keys))
                self.orders.append(NGrams.make(keys, counts, contexts, vocab_size))
                contexts = len(keys)
            ids = np.full(len(tokens), -1)
            ids[follows] = inverse
            keys = longer
            opens = (tokens[first - (n - 1)] == BOS_ID) & (n > 1)
            counts = plain if n == order else np.where(opens, plain, 0)
        self.orders.append(NGrams.make(keys, counts, contexts, vocab_size))

    def probabilities(self, tokens: TokenIds) -> Floats:
        """(N,) of each token given those before it in its sentence; 1 for <bos>.

        Given any context, those of all tokens but <bos> and <pad> add up to 1.
        """
        p = np.full(len(tokens), 1 / (self.vocab_size - 2))
        ids = np.zeros(len(tokens), np.int64)
        for n, grams in enumerate(self.orders, start=1):
            follows, keys = self._keys(tokens, ids, n)
            found = grams.find(keys)
            context = keys // self.vocab_size
            count = grams.counts[found]
            kept = count - grams.discounts[np.minimum(count, 3)]
            total = grams.totals[context]
            p[follows] = np.where(
                total > 0,
                kept / np.maximum(total, 1) + grams.backoff[context] * p[follows],
                p[follows],
            )
            ids = np.full(len(tokens), -1)
            ids[follows] = found
        p[tokens == BOS_ID] = 1
        return p

    def nats(self, tokens: TokenIds) -> float:
        """Summed cross-entropy of all tokens but <bos>."""
        return float(-np.log(self.probabilities(tokens)).sum())

    def _keys(
        self, tokens: TokenIds, ids: Integers, n: int
    ) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Where an n-gram ends whose context is known, and the keys of those n-grams.

        ids (N,): of the n-gram one shorter that ends at each token, -1 where there is none.
        """
        if n == 1:
            return np.full(len(tokens), True), tokens.astype(np.int64)
        context = np.concatenate(([-1], ids[:-1]))
        follows = (context >= 0) & (tokens != BOS_ID)
        return follows, context[follows] * self.vocab_size + tokens[follows]


def discounts_of(counts: Integers) -> Floats:
    """(4,) discounts of the counts 0, 1, 2 and 3 or more (Chen & Goodman, equation 26)."""
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return np.array(FALLBACK_DISCOUNTS)
    y = n1 / (n1 + 2 * n2)
    discounts = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    # A text that repeats itself has odd counts of counts.
    return discounts if discounts.min() >= 0 else np.array(FALLBACK_DISCOUNTS)


def xz_bits(training: bytes, texts: list[bytes]) -> list[int]:
    """Bits that `xz -9e` needs for each text when it has read the training text.

    That is the size of both together less the size of the training text alone. The dictionary
    is as large as both together (up to 1.5 GiB; xz's own is 64 MiB), so nothing is forgotten; the
    encoder takes about twelve times its memory.
    """
    dictionary = min(MAX_DICTIONARY, max(4096, len(training) + max(map(len, texts))))
    alone = _xz_size(dictionary, training)
    return [8 * (_xz_size(dictionary, training, text) - alone) for text in texts]


def _xz_size(dictionary: int, *parts: bytes) -> int:
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    # Without the container, which would round the size up to four bytes.
    encoder = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    return sum(len(encoder.compress(part)) for part in parts) + len(encoder.flush())
