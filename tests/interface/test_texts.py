"""Every word of the page in three languages."""

from __future__ import annotations

import re
import string

import pytest

from config import PROJECT_DIR, STYLES
from interface.texts import LANGUAGES, TEXTS, Text, language_of, say

TATAR = set("әөүҗңһӘӨҮҖҢҺ")


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_is_there_in_every_language_with_the_same_blanks(key: str) -> None:
    text = TEXTS[key]
    assert Text._fields == tuple(LANGUAGES)
    assert all(words == words.strip() and words for words in text)
    blanks = [
        {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}
        for words in text
    ]
    assert blanks[0] == blanks[1] == blanks[2]
    assert not TATAR & set(text.ru.replace("Казан шәһәре", ""))
    assert re.search("[а-яё]", text.en.replace("Казан шәһәре", "")) is None


def test_every_text_is_used_and_every_text_used_is_there() -> None:
    """A key stands in `say(...)`, `Refused(...)` or among the words of a component."""
    named = set(STYLES) | {f"{key}_info" for key in TEXTS}
    spoken = set()
    for path in (PROJECT_DIR / "interface").glob("*.py"):
        code = path.read_text(encoding="utf-8") if path.name != "texts.py" else ""
        spoken |= set(re.findall(r"(?:say|Refused|choices)\(\s*[\"'](\w+)[\"']", code))
        named |= set(re.findall(r"[\"'](\w+)[\"']", code))
    assert spoken
    assert spoken <= TEXTS.keys()
    assert TEXTS.keys() - named == set()


def test_blanks_are_filled() -> None:
    assert say("waiting", "en", ahead=3) == "Waiting: 3 ahead of you."
    assert say("stop", "tt") == "Туктату"


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("tt-RU,ru;q=0.9,en;q=0.8", "tt"),
        ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"),
        ("en-GB", "en"),
        ("de-DE,de;q=0.9,en;q=0.5", "en"),
        ("en;q=0.5,ru;q=0.9", "ru"),
        ("fr", "tt"),
        ("", "tt"),
        (None, "tt"),
        ("ru;q=x, en;q=0.1", "en"),
        (";;;,,,q=", "tt"),
    ],
)
def test_the_browser_says_which_language(accepts: str | None, language: str) -> None:
    assert language_of(accepts) == language
