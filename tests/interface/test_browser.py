"""What a person does with the page, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from config import REFERENCE_PROMPTS
from interface.texts import LANGUAGES, say
from tests.interface.conftest import TABS, go_to


@pytest.mark.parametrize(
    ("browsers", "language"), [("tt-RU", "tt"), ("ru-RU", "ru"), ("en-GB", "en"), ("de", "tt")]
)
def test_the_page_speaks_the_browsers_language(
    browsers: str, language: str, server: Any, visit: Any
) -> None:
    page = visit(server.url, browsers)
    expect(page.locator("html")).to_have_attribute("lang", language)
    for tab in TABS:
        expect(page.get_by_role("tab", name=say(tab, language), exact=True)).to_be_visible()
    expect(page.locator("#go")).to_have_text(say("continue", language))
    expect(page.get_by_label(say("prompt", language))).to_be_visible()
    expect(page.get_by_text(say("intro", language))).to_be_visible()


def test_another_language_is_spoken_at_once_and_remembered(server: Any, visit: Any) -> None:
    page = visit(server.url, "tt-RU")
    page.locator("#prompt textarea").fill("Казан")
    page.get_by_label(LANGUAGES["ru"]).check()
    expect(page.locator("#go")).to_have_text(say("continue", "ru"))
    expect(page.locator("#prompt textarea")).to_have_value("Казан")  # nothing is lost
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    page.reload()
    page.locator("html[data-ready]").wait_for()
    expect(page.locator("#go")).to_have_text(say("continue", "ru"))
    expect(page.get_by_label(LANGUAGES["ru"])).to_be_checked()


# What is written in Latin letters in every language, and names of files.
LATIN = {
    "English",
    "Language",
    "GPT",
    "Ctrl",
    "Enter",
    "txt",
    "Min",
    "Top",
    "p",
    "adamw",
    "primer",
    "tiny",
}


@pytest.mark.parametrize("language", ["tt", "ru"])
def test_no_english_is_left_over(language: str, server: Any, visit: Any) -> None:
    page = visit(server.url, f"{language}-RU")
    page.locator("#settings button").first.click()
    for tab in TABS:
        go_to(page, say(tab, language))
        page.locator("button.primary:visible").click() if tab != "tab_about" else None
        shown = page.locator("body").inner_text()
        shown += " ".join(
            page.locator("[placeholder]").evaluate_all("all => all.map(e => e.placeholder)")
        )
        assert set(re.findall(r"[A-Za-z]+", shown)) - LATIN == set(), tab
    tatar = set("әөүҗңһ")
    if language == "ru":
        labels = page.locator("label, button:not(#examples *), h1").all_inner_texts()
        assert not tatar & set("".join(labels).replace("Татарча", ""))


def test_the_language_outlives_the_server(
    trained: Any, serve: Any, free_port: Any, visit: Any
) -> None:
    port = free_port()
    with serve(trained, port=port) as server:
        page = visit(server.url, "tt-RU")
        page.get_by_label(LANGUAGES["en"]).check()
        expect(page.locator("#go")).to_have_text(say("continue", "en"))
        page.goto("about:blank")
    with serve(trained, port=port) as server:
        page.goto(server.url)
        expect(page.locator("#go")).to_have_text(say("continue", "en"))
        page.goto("about:blank")


def test_a_text_grows(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#prompt textarea").fill("Казан шәһәре")
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан шәһәре .+"))
    expect(page.locator("#figures")).to_contain_text("Токеннар")
    expect(page.locator("#figures")).to_contain_text("/ 32 токен")


def test_ctrl_enter_and_an_example(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#examples").get_by_text(REFERENCE_PROMPTS[1], exact=True).click()
    expect(page.locator("#prompt textarea")).to_have_value(REFERENCE_PROMPTS[1])
    page.locator("#prompt textarea").press("Control+Enter")
    expect(page.locator("#text textarea")).to_have_value(re.compile(REFERENCE_PROMPTS[1] + ".+"))


def written_with_seed(page: Page, button: str, seed: str) -> str:
    """What the page writes on a click of the button; `seed` is a pattern."""
    page.locator(button).click()
    done = re.compile(rf"Токеннар: 100 .* башлангыч сан: {seed}(?!\d)")
    expect(page.locator("#figures")).to_contain_text(done)
    return page.locator("#text textarea").input_value()


def write_boldly(page: Page) -> None:
    page.get_by_label(say("go_on", "tt")).check()
    page.get_by_label(say("bold", "tt")).check()
    page.locator("#settings button").first.click()
    expect(page.locator("#temperature input[type=number]")).to_have_value("1.5")
    set_slider(page, "#min_p", "0.3", "0")
    page.locator("#prompt textarea").fill("Казан")


def test_a_seed_gives_the_same_text_and_another_one_differs(server: Any, visit: Any) -> None:
    page = visit(server.url)
    write_boldly(page)
    seed = page.locator("#seed input, #seed textarea")
    expect(seed).to_have_value("")
    seed.fill("7")
    first = written_with_seed(page, "#go", "7")
    other = written_with_seed(page, "#again", r"(?!7\b)\d+")
    assert first == written_with_seed(page, "#go", "7") != other
    seed.fill("")
    random = written_with_seed(page, "#go", r"(?!7\b)\d+")
    used = re.findall(r"\d+", page.locator("#figures").inner_text())[-1]
    seed.fill("7")
    written_with_seed(page, "#go", "7")
    seed.fill(used)
    assert written_with_seed(page, "#go", used) == random
    seed.fill("-5")
    page.locator("#go").click()
    expect(page.get_by_text(say("bad_seed", "tt"))).to_be_visible()
    expect(page.locator("#text textarea")).to_have_value(random)  # what was written stays


def test_a_slider_that_is_moved_is_no_preset_any_more(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#settings button").first.click()
    expect(page.get_by_label(say("balanced", "tt"))).to_be_checked()
    set_slider(page, "#temperature", "0.8", "0.9")
    expect(page.get_by_label(say("balanced", "tt"))).not_to_be_checked()
    page.locator("#prompt textarea").fill("Казан")
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан .+"))


def test_a_text_goes_on_from_where_it_is(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#prompt textarea").fill("Казан шәһәре")
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан шәһәре .+[.]$"))
    first = page.locator("#text textarea").input_value()
    page.locator("#from_here").click()
    expect(page.locator("#prompt textarea")).to_have_value(first + "\n")
    expect(page.locator("#text textarea")).to_have_value(
        re.compile("^" + re.escape(first) + r"\n\S.+[.]$")
    )


def test_a_finished_sentence_is_said_to_be_finished(server: Any, visit: Any) -> None:
    page = visit(server.url, "en-US")
    page.locator("#prompt textarea").fill(
        "Казан шәһәре матур һәм зур башкала анда елга буенда яшел бакча үсә."
    )
    page.locator("#go").click()
    expect(page.locator("#figures")).to_contain_text(say("ended", "en"))


def test_the_text_is_saved_and_copied(server: Any, visit: Any) -> None:
    page = visit(server.url, permissions=["clipboard-read", "clipboard-write"])
    page.locator("#prompt textarea").fill("Казан")
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("Казан .+[.]$"))
    text = page.locator("#text textarea").input_value()
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename.endswith(".txt")
    assert Path(download.value.path()).read_text(encoding="utf-8") == text
    page.locator("#copy").click()
    expect(page.get_by_text(say("copied", "tt"))).to_be_visible()
    expect(page.get_by_text("Info")).to_be_hidden()  # Gradio's own heading, in English alone
    assert page.evaluate("navigator.clipboard.readText()") == text


def set_slider(page: Page, slider: str, before: str, after: str) -> None:
    """Type a value. What is typed while the panel is still being opened, Gradio forgets."""
    number = page.locator(f"{slider} input[type=number]")
    expect(number).to_have_value(before)
    for _ in range(10):
        number.fill(after)
        number.press("Tab")
        try:
            expect(page.locator(f"{slider} input[type=range]")).to_have_value(after, timeout=500)
        except AssertionError:
            continue
        return
    raise AssertionError(f"{slider} does not take {after}")


def start_a_long_text(page: Page) -> None:
    page.get_by_label(say("go_on", "tt")).check()
    page.locator("#settings button").first.click()
    set_slider(page, "#length", "100", "1000000")
    page.locator("#prompt textarea").fill("Казан")
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан.+"))


def test_stop_stops_the_computation(narrow_server: Any, visit: Any) -> None:
    page = visit(narrow_server.url)
    start_a_long_text(page)
    assert narrow_server.health()["in_line"] == 1
    page.locator("#stop").click()
    narrow_server.wait_until_nobody_is_in_line()
    assert page.locator("#text textarea").input_value().startswith("Казан")


def test_while_a_text_grows_no_other_is_begun_beside_it(narrow_server: Any, visit: Any) -> None:
    page = visit(narrow_server.url)
    start_a_long_text(page)
    for button in ("#again", "#from_here", "#go"):
        page.locator(button).click()
    page.locator("#prompt textarea").press("Control+Enter")
    assert narrow_server.health()["in_line"] == 1
    page.locator("#stop").click()
    narrow_server.wait_until_nobody_is_in_line()
    page.locator("#again").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан.+"))
    page.locator("#stop").click()
    narrow_server.wait_until_nobody_is_in_line()


def test_a_closed_tab_frees_its_place(narrow_server: Any, visit: Any) -> None:
    page = visit(narrow_server.url)
    start_a_long_text(page)
    assert narrow_server.health()["in_line"] == 1
    page.close()
    narrow_server.wait_until_nobody_is_in_line()


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_must_wait_or_go_is_told_in_his_language(
    language: str, narrow_server: Any, visit: Any
) -> None:
    first, second, third = (visit(narrow_server.url) for _ in range(3))
    for page in (second, third):
        page.get_by_label(LANGUAGES[language]).check()
        expect(page.locator("#go")).to_have_text(say("continue", language))
        page.locator("#prompt textarea").fill("Идел")
    start_a_long_text(first)
    second.locator("#go").click()
    expect(second.get_by_text(say("waiting", language, ahead=1))).to_be_visible()
    third.locator("#go").click()
    expect(third.get_by_text(say("busy", language))).to_be_visible()
    first.locator("#stop").click()
    expect(second.locator("#text textarea")).to_have_value(re.compile("^Идел"))
    second.close()
    narrow_server.wait_until_nobody_is_in_line()
