"""The language filters: what they must catch, and above all what they must let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import REFERENCE_SENTENCES
from pipeline.clean import Cleaner

RUSSIAN = Path(__file__).with_name("russian_sentences.txt")


def reason(text: str) -> str:
    cleaner = Cleaner()
    return cleaner.reason_to_drop(cleaner.normalise(text))


def test_catches_over_95_percent_of_russian() -> None:
    sentences = RUSSIAN.read_text(encoding="utf-8").split("\n")[:300]
    caught = sum(reason(sentence) == "Russian" for sentence in sentences)
    assert caught > 0.95 * 300


@pytest.mark.parametrize(
    "tatar",
    [
        *REFERENCE_SENTENCES,
        # None of these has one of the six letters.
        "Без бакчада утырдык, алма ашадык.",
        "Ул кичә кайтты да китап укып утырды.",
        "Монда бик матур урман бар иде.",
        "Авылга кайттым, анда дуслар бар.",
        "Бала йоклый, ана карап тора.",
        "Кар ява, урамда салкын.",
        "Спорт клубы ачылды.",
        "Студентлар программа буенча укыды.",
        "Спектакль башлана.",
        "И туган тел, и матур тел, аткам-анкамнын теле!",
        # Old encodings without the six letters.
        "Ул койлэнэ, буген мэктэпкэ бармый.",
        # Names and quotations of another language.
        "Ул «Спокойной ночи» тапшыруын карарга ярата иде, һәр кичне көтте.",
        "Рөстәм Миңнеханов Владимир Путин белән очрашты, дип хәбәр итә «Российская газета».",
        "Башҡортостан газетасы бу хакта язып чыкты, дип сөйләде ул.",
        "XIX һәм ХІХ гасырларда, Пётр І заманында, Казан үсте.",
        "Windows XP системасы өчен программа язылган.",
    ],
)
def test_tatar_is_kept(tatar: str) -> None:
    assert reason(tatar) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Мәктәптә башҡорт телен уҡытыу һәм өйрәнеү буйынса яңы ҡарар ҡабул ителде.", "Bashkir"),
        ("Был ауылда ҙур байрам үткәрелде, халыҡ күп булды.", "Bashkir"),
        ("Қазақстан Республикасының астанасы Астана қаласы болып табылады.", "Kazakh"),
        ("Бұл кітап өте қызықты, мен оны оқып шықтым.", "Kazakh"),
        ("Українська мова є державною мовою країни, її вивчають усі.", "Kazakh|other Cyrillic"),
        ("Чӑваш чӗлхи тӗрӗк чӗлхисен йышне кӗрет.", "other Cyrillic"),
        ("Tatar tele törki tellär törkemenä kerä.", "Latin script"),
        ("The capital of Tatarstan is Kazan, a large city.", "Latin script"),
        ("قازان شەهەری تاتارستاننىڭ باشقالاسى", "other script"),
        ("Η Καζάν είναι πρωτεύουσα του Ταταρστάν", "other script"),
        ("В этом доме жил поэт.", "Russian"),
        ("Слово «өчпочмак» пишется по-русски иначе.", "Russian"),
        ("НЕ КУРИТЬ! ВХОД ВОСПРЕЩЁН!", "Russian"),
    ],
)
def test_other_languages_are_dropped(text: str, why: str) -> None:
    assert reason(text) in why.split("|")


def test_any_language_has_no_filter() -> None:
    cleaner = Cleaner("any")
    for text in ("The capital of Tatarstan is Kazan.", "В этом доме жил поэт.", "Бұл кітап өте."):
        assert cleaner.reason_to_drop(text) == ""
