"""Normalising one sentence, and the reasons to drop one.

Most lines need no repair, so each repair first asks a quick question (a substring, one
precompiled search) and only then works letter by letter.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from pipeline.language import foreign_language

# Shorter lines are headings, list items and crumbs: under two short words.
MIN_CHARS = 10
# Longer ones are tables, lists and joined paragraphs.
MAX_CHARS = 1_000
# Share of the visible characters that must be letters.
MIN_LETTERS = 0.5

TATAR_LETTERS = "әөүҗңһӘӨҮҖҢҺ"

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Control characters that are no white space, soft hyphen, zero width, text direction, BOM.
_ALWAYS_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ue000-\uf8ff"
)
_INVISIBLE = {
    # Zero-width joiners are spelling in Persian or Hindi and rubbish in Tatar.
    "tt": re.compile(f"[{_ALWAYS_INVISIBLE}\u200c\u200d]"),
    "any": re.compile(f"[{_ALWAYS_INVISIBLE}]"),
}
_SPACES = re.compile(r"\s\s|[^\S ]|^\s|\s$")

# Letters that only look like Tatar ones, wherever they stand.
_LOOK_ALIKE = re.compile("[əƏѳѲɵƟӊӉ]")
_LOOK_ALIKES = str.maketrans("əƏѳѲɵƟӊӉ", "әӘөӨөӨңҢ")
# Latin letters inside a Cyrillic word.
_MIXED = re.compile("[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
_WORD = re.compile(r"[^\W\d_]+")
_LATIN_TO_CYRILLIC = str.maketrans("aceopxyhABCEHKMOPTXY", "асеорхуһАВСЕНКМОРТХУ")
# HPның, XXнче: a Latin abbreviation or number with a Tatar suffix.
_ABBREVIATION_WITH_SUFFIX = re.compile("[A-Z]{2,}[а-яёәөүҗңһ]+")
_MAPPABLE = frozenset("aceopxyhABCEHKMOPTXY")

_ID_COLUMN = re.compile(r"\d+\t")

# The end of a sentence: a closing mark, white space, then something that can open one.
_BOUNDARY = re.compile(
    r"""(?<![.!?…])[.!?…]+[»”"')\]]*(\s+)(?=[«„“"'(\[]?(?:[—–-]\s*)?\w)|[。！？।]()"""
)
_ABBREVIATIONS = frozenset(
    re.split(
        " ",
        "б.э б.э.к һ.б һ.б.ш мәс м.с гг г й ел е проф акад доц ред рәс ур йорт фат мең млн млрд "
        "мөх ш.ук т.б т.е т.д т.п др см стр т",
    )
)


class Cleaner:
    """Normalises sentences and counts what it repaired, by line."""

    def __init__(self, language: str = "tt") -> None:
        self.tatar = language == "tt"
        self.repaired: Counter[str] = Counter()
        self._invisible = _INVISIBLE["tt" if self.tatar else "any"]

    def normalise(self, text: str) -> str:
        """The sentence in NFC, one space between words, nothing invisible, Tatar letters right."""
        if len(text) > 10 * MAX_CHARS:
            return text  # is dropped whatever is done; normalising it may take minutes
        if "&" in text and _ENTITY.search(text):
            self.repaired["html entities"] += 1
            # Text that went through two templates is escaped twice: &amp;quot;
            for _ in range(2):
                text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        if self._invisible.search(text):
            self.repaired["invisible characters"] += 1
            text = self._invisible.sub("", text)
        if not unicodedata.is_normalized("NFC", text):
            self.repaired["not NFC"] += 1
            text = unicodedata.normalize("NFC", text)
        if self.tatar:
            repaired = text
            if _LOOK_ALIKE.search(text):
                repaired = text.translate(_LOOK_ALIKES)
            if _MIXED.search(repaired):
                repaired = _WORD.sub(_one_script, repaired)
            if repaired != text:
                self.repaired["look-alike letters"] += 1
                text = repaired
        if _SPACES.search(text):
            self.repaired["spaces"] += 1
            text = " ".join(text.split())
        return text

    def reason_to_drop(self, text: str) -> str:
        """Why a normalised sentence is left out, or "" where it is kept."""
        if not text:
            return "empty"
        if "\ufffd" in text:
            return "U+FFFD"
        if len(text) < MIN_CHARS:
            return "too short"
        if len(text) > MAX_CHARS:
            return "too long"
        letters = sum(map(str.isalpha, text))
        if letters < MIN_LETTERS * (len(text) - text.count(" ")) and not (
            # Vowel signs of Indic and other scripts are marks, not letters.
            not self.tatar and _letters_and_marks(text) >= MIN_LETTERS * len(text)
        ):
            return "few letters"
        return foreign_language(text, letters) if self.tatar else ""


def _letters_and_marks(text: str) -> int:
    return sum(unicodedata.category(character)[0] in "LM" for character in text)


def _one_script(match: re.Match[str]) -> str:
    """A Cyrillic word with a few Latin look-alikes in it, all in Cyrillic."""
    word = match[0]
    latin = [c for c in word if c.isascii()]
    if not latin or 2 * len(latin) >= len(word) or not _MAPPABLE.issuperset(latin):
        return word
    if _ABBREVIATION_WITH_SUFFIX.fullmatch(word):
        return word
    if set(latin) == {"H"}:
        # Alone it was typed for Һ; beside other Latin letters it is the look-alike of Н.
        return word.replace("H", "Һ")
    return word.translate(_LATIN_TO_CYRILLIC)


def without_id(line: str) -> str:
    """A line of a Leipzig file without its `id<TAB>`."""
    match = _ID_COLUMN.match(line)
    return line[match.end() :] if match else line


def sentences(line: str) -> Iterator[str]:
    """The sentences of a line of running text, which may hold a whole paragraph."""
    for part in line.splitlines():
        start = counted = open_quotations = 0
        for match in _BOUNDARY.finditer(part):
            end = match.end()
            open_quotations += part.count("«", counted, end) - part.count("»", counted, end)
            counted = end
            # A quotation stays whole; one that never ends does not hold up a whole page.
            if open_quotations > 0 and end - start < MAX_CHARS:
                continue
            if _is_end(part, start, match):
                yield part[start:end].strip()
                start, open_quotations = end, 0
        if rest := part[start:].strip():
            yield rest


def _is_end(part: str, start: int, match: re.Match[str]) -> bool:
    opener = part[match.end() : match.end() + 8].lstrip("«„“\"'([—–- ")[:1]
    if match[1] and (opener.islower() or opener.isdigit()):
        return False
    if part[match.start()] != "." or match[1] is None:
        return True
    before = part[max(start, match.start() - 40) : match.start()].rsplit(None, 1)
    last = before[-1].lstrip("(«\"'") if before else ""
    is_initial = len(last.rsplit(".", 1)[-1]) == 1 and last[-1:].isupper()
    return not (is_initial or last.lower() in _ABBREVIATIONS)
