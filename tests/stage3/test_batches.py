"""Rows of training and evaluation, and the token cache they are read from."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from config import BOS_ID, EOS_ID
from model import IGNORE_INDEX
from pipeline.batches import (
    TrainingRows,
    cached_tokens,
    check_lengths,
    encode_sentences,
    evaluation_rows,
)
from pipeline.errors import TrainingError
from pipeline.files import sha256_of
from pipeline.tokenizer import load_tokenizer


def text_of(lengths: list[int]) -> np.ndarray:
    """Token ids of sentences so long; every token but <bos> and <eos> occurs once."""
    ids: list[int] = []
    new = iter(range(4, 65_535))
    for length in lengths:
        ids += [BOS_ID, *(next(new) for _ in range(length)), EOS_ID]
    return np.array(ids, dtype=np.uint16)


def sentences_of(tokens: Any) -> list[tuple[int, ...]]:
    """The sentences of a stream that begins with one."""
    sentences: list[list[int]] = []
    for token in map(int, tokens):
        if token == BOS_ID:
            sentences.append([])
        sentences[-1].append(token)
    return [tuple(sentence) for sentence in sentences]


texts = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(text_of)
blocks = st.integers(2, 12)
seeds = st.integers(0, 2**63 - 1)


# -------------------------------------------------------------------------------- training rows


@settings(deadline=None)
@given(text=texts, block_size=blocks, seed=seeds, data=st.data())
def test_every_sentence_comes_once_an_epoch_however_rows_are_grouped(
    text: np.ndarray, block_size: int, seed: int, data: st.DataObject
) -> None:
    rows = TrainingRows(text, block_size, seed)
    wanted = -(-3 * len(text) // block_size)  # rows of three epochs
    inputs: list[torch.Tensor] = []
    while (done := sum(map(len, inputs))) < wanted:
        inputs.append(rows.rows(done, data.draw(st.integers(1, wanted)))[0])
    stream = torch.cat(inputs).flatten()
    expected = collections.Counter(sentences_of(text))
    for epoch in range(3):
        # The next epoch follows without a gap: its first row opens with this one's tail.
        part = stream[epoch * len(text) : (epoch + 1) * len(text)]
        assert collections.Counter(sentences_of(part)) == expected


@settings(deadline=None)
@given(
    text=texts, block_size=blocks, seed=seeds, first=st.integers(0, 200), count=st.integers(1, 50)
)
def test_rows_from_a_position_on_are_those_of_an_unbroken_run(
    text: np.ndarray, block_size: int, seed: int, first: int, count: int
) -> None:
    inputs, targets = TrainingRows(text, block_size, seed).rows(0, first + count)
    resumed_inputs, resumed_targets = TrainingRows(text, block_size, seed).rows(first, count)
    assert torch.equal(resumed_inputs, inputs[first:])
    assert torch.equal(resumed_targets, targets[first:])


@settings(deadline=None)
@given(text=texts, block_size=blocks, seed=seeds, count=st.integers(1, 40))
def test_targets_are_the_next_tokens_and_never_bos(
    text: np.ndarray, block_size: int, seed: int, count: int
) -> None:
    rows = TrainingRows(text, block_size, seed)
    inputs, targets = rows.rows(0, count)
    assert inputs.shape == targets.shape == (count, block_size)
    assert inputs.dtype == targets.dtype == torch.int64
    following = rows.rows(0, count + 1)[0].flatten()[1 : count * block_size + 1]
    following[following == BOS_ID] = IGNORE_INDEX
    assert torch.equal(targets.flatten(), following)
    assert BOS_ID not in targets


def test_every_epoch_has_an_order_of_its_own() -> None:
    text = text_of([1] * 100)  # 300 tokens
    orders = [TrainingRows(text, 30, seed=7).rows(10 * epoch, 10)[0] for epoch in range(4)]
    for one in range(4):
        for other in range(one):
            assert not torch.equal(orders[one], orders[other])
    assert not torch.equal(orders[0].flatten(), torch.from_numpy(text.astype(np.int64)))


def test_the_order_is_fixed_by_the_seed() -> None:
    text = text_of([1] * 100)
    one, again = (TrainingRows(text, 30, seed=7).rows(25, 10)[0] for _ in range(2))
    other = TrainingRows(text, 30, seed=8).rows(25, 10)[0]
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_epochs_count_how_often_the_text_was_read() -> None:
    rows = TrainingRows(text_of([8] * 5), 10, seed=0)  # 50 tokens
    assert rows.epochs(0) == 0
    assert rows.epochs(12) == pytest.approx(2.4)


# -------------------------------------------------------------------------------- evaluation rows


@settings(deadline=None)
@given(text=texts, block_size=blocks)
def test_evaluation_scores_each_token_once_in_order(text: np.ndarray, block_size: int) -> None:
    inputs, targets = evaluation_rows(text, block_size)
    assert inputs.shape == targets.shape
    assert inputs.shape[1] == block_size
    assert (len(inputs) - 1) * block_size < len(text) - 1 <= len(inputs) * block_size
    flat_inputs, flat_targets = inputs.flatten(), targets.flatten()
    for i in range(flat_targets.numel()):
        scored = i + 1 < len(text) and text[i + 1] != BOS_ID
        assert int(flat_targets[i]) == (int(text[i + 1]) if scored else IGNORE_INDEX)
        if scored:  # and it is predicted from what stands before it
            assert int(flat_inputs[i]) == int(text[i])


# -------------------------------------------------------------------------------- encoding


def test_sentences_stand_between_bos_and_eos(prepared: Any) -> None:
    tokenizer, _ = load_tokenizer(prepared.tokenizer)
    chunks = list(encode_sentences(tokenizer, ["Казан шәһәре", "", "<bos>"]))
    tokens = np.concatenate(chunks)
    assert tokens.dtype == np.uint16
    inner = [tokenizer.encode(text).ids for text in ("Казан шәһәре", "<bos>")]
    assert tokens.tolist() == [2, *inner[0], 3, 2, 3, 2, *inner[1], 3]


def test_many_sentences_are_encoded_in_order(prepared: Any) -> None:
    tokenizer, _ = load_tokenizer(prepared.tokenizer)
    lines = [f"юл {i}" for i in range(9000)]
    tokens = np.concatenate(list(encode_sentences(tokenizer, lines)))
    decoded = [tokenizer.decode(sentence) for sentence in sentences_of(tokens)]
    assert decoded == lines


# -------------------------------------------------------------------------------- the cache


class Cache:
    """The cache of a folder's train.txt and val.txt."""

    def __init__(self, workspace: Any) -> None:
        self.data = workspace.data
        self.tokenizer, facts = load_tokenizer(workspace.tokenizer)
        self.sha256 = facts["sha256"]

    def tokens(self, split: str = "train") -> np.ndarray:
        path = self.data / f"{split}.txt"
        return cached_tokens(path, sha256_of(path), self.tokenizer, self.sha256)

    def files(self) -> dict[str, tuple[int, int]]:
        """Names of the cached files, and what changes when one is written anew."""
        files = (self.data / "cache").glob("*")
        return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    def expected(self, split: str = "train") -> np.ndarray:
        lines = (self.data / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        return np.concatenate(list(encode_sentences(self.tokenizer, lines)))


@pytest.fixture
def cache(workspace: Any) -> Cache:
    return Cache(workspace)


def test_the_cache_holds_the_tokens_as_a_npy_file(cache: Cache) -> None:
    tokens = cache.tokens()
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint16
    np.testing.assert_array_equal(tokens, cache.expected())
    (name,) = cache.files()
    assert sha256_of(cache.data / "train.txt")[:12] in name
    assert cache.sha256[:12] in name
    np.testing.assert_array_equal(np.load(cache.data / "cache" / name), tokens)


def test_the_cache_is_read_the_second_time(cache: Cache) -> None:
    cache.tokens()
    before = cache.files()
    cache.tokens()
    assert cache.files() == before


def test_a_changed_text_is_encoded_anew(cache: Cache) -> None:
    cache.tokens("val")
    cache.tokens()
    before = cache.files()
    with (cache.data / "train.txt").open("a", encoding="utf-8") as file:
        file.write("Казан матур.\n")
    np.testing.assert_array_equal(cache.tokens(), cache.expected())
    # The old one is gone, and the other split's is left alone.
    now = cache.files()
    assert len(now) == 2
    assert [name for name in now if name in before] == [n for n in before if n.startswith("val")]


def test_another_tokenizer_has_another_cache(cache: Cache, workspace: Any) -> None:
    before = cache.tokens().tolist()
    assert workspace.stage2("--vocab-size", 300).code == 0
    other = Cache(workspace)
    assert other.tokens().tolist() != before
    np.testing.assert_array_equal(other.tokens(), other.expected())


@pytest.mark.parametrize("damage", ["empty", "cut in the header", "cut", "no npy", "a zip"])
def test_a_damaged_cache_is_made_anew(
    damage: str, cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.tokens()
    (name,) = cache.files()
    path: Path = cache.data / "cache" / name
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut in the header": whole[:50],
            "cut": whole[:-100],
            "no npy": b"something else" * 20,
            "a zip": b"PK\x03\x04" + whole,
        }[damage]
    )
    np.testing.assert_array_equal(cache.tokens(), cache.expected())
    assert path.read_bytes() == whole
    assert "damaged; making it anew" in capsys.readouterr().out


# -------------------------------------------------------------------------------- lengths


def test_a_split_that_fills_one_row_is_enough() -> None:
    check_lengths(text_of([7]), text_of([7]), block_size=8)


@pytest.mark.parametrize("short", ["training", "validation"])
def test_a_split_shorter_than_a_row_is_refused(short: str) -> None:
    nine, eight = text_of([7]), text_of([6])
    pair = (eight, nine) if short == "training" else (nine, eight)
    with pytest.raises(TrainingError, match=f"the {short} split has 8 tokens, and a row takes 9"):
        check_lengths(*pair, block_size=8)
