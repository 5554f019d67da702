"""Repairs and reasons to drop, sentence by sentence."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import SAMPLE_DIR
from pipeline.clean import MAX_CHARS, Cleaner, sentences, without_id

WHOLE = "Казан шәһәре Татарстан Республикасының башкаласы."


@pytest.mark.parametrize(
    ("raw", "clean", "repair"),
    [
        ("«Ак Барс» &mdash; хоккей&#1080;", "«Ак Барс» — хоккейи", "html entities"),
        ("Ул &amp;quot;юк&amp;quot; диде", 'Ул "юк" диде', "html entities"),
        ("AT&T һәм R&D; бүлеге &бер; юк", "AT&T һәм R&D; бүлеге &бер; юк", ""),
        ("мәк\u00adтәп\u200bләр\ufeff\x07 бар\u200d", "мәктәпләр бар", "invisible characters"),
        ("и\u0306од бар", "йод бар", "not NFC"),
        ("  ике   буш\tурын\u00a0бар\r", "ике буш урын бар", "spaces"),
        ("кəгазь, Əни, ѳй, Ѳй", "кәгазь, Әни, өй, Өй", "look-alike letters"),
        ("ɵй, Ɵй, яӊа, ЯӉА", "өй, Өй, яңа, ЯҢА", "look-alike letters"),
        ("hәм шәhәр Aллаh", "һәм шәһәр Аллаһ", "look-alike letters"),
        ("Hәркем килде", "Һәркем килде", "look-alike letters"),
        ("КAЗAН МОCКВA", "КАЗАН МОСКВА", "look-alike letters"),
        ("ТАТАPСТАHНЫҢ", "ТАТАРСТАННЫҢ", "look-alike letters"),
        ("Татаpcтан peспубликасы", "Татарстан республикасы", "look-alike letters"),
    ],
)  # fmt: skip
def test_repairs(raw: str, clean: str, repair: str) -> None:
    cleaner = Cleaner()
    assert cleaner.normalise(raw) == clean
    assert dict(cleaner.repaired) == ({repair: 1} if repair else {})


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        "Windows системасы, iPhoneда, SMSлар, WhatsAppтан",  # Latin words with Tatar suffixes
        "PRга, CDны, XXның, MTCныкы",  # as many Latin letters as Cyrillic, or more
        "Мин CSS өйрәнәм, H2O белән.",
        "Гарәпчә: السلام, эмодзи 😀👍🏽",
    ],
)
def test_leaves_alone_what_is_right(text: str) -> None:
    cleaner = Cleaner()
    assert cleaner.normalise(text) == text
    assert not cleaner.repaired


def test_another_language_keeps_its_own_letters() -> None:
    cleaner = Cleaner("any")
    azerbaijani = "Mən Bakıda yaşayıram, gözəl şəhərdir."
    assert cleaner.normalise(azerbaijani) == azerbaijani
    assert cleaner.reason_to_drop(azerbaijani) == ""
    persian = "می\u200cخواهم به خانه بروم"
    assert cleaner.normalise(persian) == persian
    assert cleaner.reason_to_drop(persian) == ""
    assert cleaner.reason_to_drop("मैं हिन्दी में लिखता हूँ।") == ""
    assert cleaner.reason_to_drop("12 34 56 78 90 ++ --") == "few letters"
    assert cleaner.normalise("Это hәм то") == "Это hәм то"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHOLE, ""),
        ("", "empty"),
        ("Казан ше\ufffdһәре матур.", "U+FFFD"),
        ("Ә син?", "too short"),
        ("Ул килде.", "too short"),
        ("Ул килде дә китте.", ""),
        ("Ул килде. " * (MAX_CHARS // 10), ""),
        ("Ул килде. " * (MAX_CHARS // 10) + ".", "too long"),
        ("1) 22.33.44, 5-6-7 тел. 8-900", "few letters"),
        ("Кереш ............................ 3", "few letters"),
    ],
)
def test_reasons_to_drop(text: str, reason: str) -> None:
    assert Cleaner().reason_to_drop(text) == reason


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_becomes_one_line_of_nfc(text: str) -> None:
    for language in ("tt", "any"):
        clean = Cleaner(language).normalise(text)
        assert unicodedata.is_normalized("NFC", clean)
        assert len(clean.splitlines()) <= 1
        assert clean == " ".join(clean.split())
        assert "\x00" not in clean and "\xad" not in clean


@given(st.text(alphabet="aәeоoкКHhҺs &;#1\u200b\u0306и ", max_size=40))
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    once = Cleaner().normalise(text)
    if "&" not in once:  # text escaped more often than twice is left as it is
        assert Cleaner().normalise(once) == once


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Кич булды. Без өйгә кайттык! Ә син? Юк…", 4),
        ("Г. Тукай Кушлавычта туган. Ул 1886 елда туган.", 2),
        ("Г.Тукай белән Ф. Әмирхан, М. Гафури килгән.", 1),
        ("Алма, груша һ.б. Җимешләр күп. Бар да тәмле.", 2),
        ("Без б.э. II гасырында яшәдек, 1990 гг. Шулай.", 1),
        ("Проф. Вәлиев 5 мәс. Казанда булды.", 1),
        ("Ул «Кил. Утыр. Сөйлә» диде. Мин утырдым.", 2),
        ("— Кая барасың? — диде ул.", 1),
        ("Бәясе 3.5 сум. 12 данә бар.", 1),
        ("Ул китте... ә мин калдым.", 1),
        ("Ул шулай диде.) Аннары китте.", 2),
        ("Беренче юл\u2028Икенче юл", 2),
        ("我来了。你好吗？", 2),
        ("", 0),
        ("   ", 0),
    ],
)
def test_running_text_is_cut_into_sentences(line: str, parts: int) -> None:
    found = list(sentences(line))
    assert len(found) == parts
    assert "".join("".join(found).split()) == "".join(line.split())


def test_id_column() -> None:
    assert without_id("17\tКазан.") == "Казан."
    assert without_id("17 Казан.") == "17 Казан."
    assert without_id("Казан\tшәһәре") == "Казан\tшәһәре"


def test_the_built_in_sample_needs_no_repair() -> None:
    cleaner = Cleaner()
    for path in sorted(SAMPLE_DIR.glob("*.txt")):
        for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
            assert cleaner.normalise(line) == line
            assert cleaner.reason_to_drop(line) == "", line
    assert not cleaner.repaired
