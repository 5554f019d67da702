"""The built-in corpus keeps its own rules: it is written prose, from words that come back."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from config import SAMPLE_DIR

FILES = sorted(SAMPLE_DIR.glob("*.txt"))
ALPHABET = "аәбвгдеёжҗзийклмнңоөпрстуүфхһцчшщъыьэюя"
ALLOWED = set(ALPHABET + ALPHABET.upper() + "0123456789 .,!?:—-«»…")
SENTENCE = re.compile(r"(?:— )?«?[А-ЯӘӨҮҖҢҺЁ0-9].*[.!?…]»?")
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+")

Words = tuple[str, ...]


def paragraphs(path: Path) -> list[list[str]]:
    return [block.split("\n") for block in path.read_text(encoding="utf-8")[:-1].split("\n\n")]


def words(sentence: str) -> Words:
    return tuple(WORD.findall(sentence.lower()))


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return [line for path in FILES for block in paragraphs(path) for line in block]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_plain_text_in_paragraphs(path: Path) -> None:
    data = path.read_bytes()
    text = data.decode("utf-8")
    assert unicodedata.normalize("NFC", text) == text
    assert set(text) - ALLOWED == {"\n"}
    assert text.endswith("\n")
    for block in paragraphs(path):
        assert 3 <= len(block) <= 8, block
        for line in block:
            assert SENTENCE.fullmatch(line), line
            assert "  " not in line
            assert line.count("«") == line.count("»"), line
            assert 5 <= len(words(line)) <= 25, line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sentences_of_a_paragraph_begin_differently(path: Path) -> None:
    for block in paragraphs(path):
        first = Counter(words(line)[0] for line in block)
        assert max(first.values()) == 1, (first.most_common(1), block)


def test_there_are_many_topics_and_sentences(sentences: list[str]) -> None:
    assert len(FILES) >= 20
    assert len({words(sentence) for sentence in sentences}) == len(sentences)
    assert len(sentences) >= 3_000


def test_no_four_words_make_a_template(sentences: list[str]) -> None:
    where: dict[Words, set[str]] = defaultdict(set)
    for sentence in sentences:
        w = words(sentence)
        for start in range(len(w) - 3):
            where[w[start : start + 4]].add(sentence)
    assert {" ".join(four): found for four, found in where.items() if len(found) > 10} == {}


def test_no_sentence_is_another_with_one_word_changed(sentences: list[str]) -> None:
    """Changed, or left out."""
    whole = set(map(words, sentences))
    around: dict[tuple[Words, Words], set[Words]] = defaultdict(set)
    for w in whole:
        for place in range(len(w)):
            before, after = w[:place], w[place + 1 :]
            assert before + after not in whole, (w, before + after)
            around[before, after].add(w)
    assert [alike for alike in around.values() if len(alike) > 1] == []


def test_words_come_back(sentences: list[str]) -> None:
    forms = Counter(word for sentence in sentences for word in words(sentence))
    assert len(forms) <= 5_000
    assert sum(count >= 3 for count in forms.values()) > len(forms) / 2
