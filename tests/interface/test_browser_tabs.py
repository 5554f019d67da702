"""What a person does in the other tabs, on a phone, with the keyboard; what is typed is text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from interface.texts import say
from tests.interface.conftest import TABS, go_to


def test_one_prompt_at_three_temperatures(server: Any, visit: Any) -> None:
    page = visit(server.url, "en-US")
    go_to(page, "Compare")
    page.locator("#compared textarea, #compared input").fill("Казан")
    page.locator("#compare").click()
    for style in ("careful", "balanced", "bold"):
        expect(page.locator(f"#text_{style} textarea")).to_have_value(re.compile("^Казан .+"))
    expect(page.get_by_label("Carefully (0.3)")).to_be_visible()


def test_a_look_inside_and_another_way_on(server: Any, visit: Any, make_service: Any) -> None:
    page = visit(server.url, "ru-RU")
    go_to(page, say("tab_inside", "ru"))
    page.locator("#looked_at textarea").fill("Казан шәһәре башкала.")
    page.locator("#look").click()
    tokens = page.locator("#surprise .text")
    expect(tokens).not_to_have_count(0)
    assert "".join(tokens.all_inner_texts()).startswith("Казан шәһәре башкала.")
    # What the model knows is pale, what it never saw there is not.
    shares = [float(s) for s in re.findall(r"rgba\(239, 68, 60, ([\d.]+)\)", tokens_style(page))]
    assert min(shares) < 0.1 < 0.5 < max(shares)
    before = "".join(tokens.all_inner_texts()[:2])
    page.locator("#surprise .text").nth(2).click()
    choices = page.locator("#alternatives label")
    expect(choices).to_have_count(10)
    service = make_service()
    (found,) = service.next_tokens(before, 10)
    expect(choices.first).to_contain_text(f"{100 * found[0].probability:.1f}".replace(".", ","))
    widths = page.locator("#alternatives label").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundImage)"
    )
    assert all("linear-gradient" in width for width in widths)
    assert len(set(widths)) > 1
    # Not the likeliest, which the model would take by itself; and a token of whole letters.
    other = next(n for n, token in enumerate(found) if n and token.text.strip().isalpha())
    choices.nth(other).click()
    begun = before + found[other].text
    expect(page.locator("#continued textarea")).to_have_value(re.compile(f"^{re.escape(begun)}.+"))


def test_what_stands_there_is_marked_among_the_alternatives(server: Any, visit: Any) -> None:
    page = visit(server.url, "en-US")
    go_to(page, "Look inside")
    page.locator("#looked_at textarea").fill("зур башкала")
    page.locator("#look").click()
    for number, word in enumerate(("зур", "башкала", "end of the sentence")):
        page.locator("#surprise .text").nth(number).click()
        expect(page.locator("#alternatives")).to_contain_text(("“зур”", "“башкала”", "⏎")[number])
        marked = page.locator("#alternatives label").filter(has_text="✓")
        expect(marked).to_have_text(re.compile(rf" {word}\s+✓"))


def test_each_sentence_has_a_line_of_its_own(server: Any, visit: Any) -> None:
    page = visit(server.url, "en-US")
    go_to(page, "Look inside")
    page.locator("#looked_at textarea").fill("Казан матур.\nБашкала зур.")
    page.locator("#look").click()
    texts = page.locator("#surprise .text")
    expect(texts.filter(has_text="⏎")).to_have_count(2)
    first, last = texts.first.bounding_box(), texts.last.bounding_box()
    assert last["y"] > first["y"] + first["height"] / 2
    # The end of the second sentence, and what stands before it in its own line.
    texts.last.click()
    expect(page.locator("#alternatives")).to_contain_text("end of the sentence")
    page.locator("#alternatives label", has_text="end of the sentence").click()
    expect(page.locator("#continued textarea")).to_have_value("Башкала зур.")


def tokens_style(page: Page) -> str:
    return page.locator("#surprise .textfield").inner_html()


def test_a_text_is_measured(server: Any, visit: Any) -> None:
    page = visit(server.url)
    go_to(page, say("tab_measure", "tt"))
    page.locator("#measured textarea").fill("Казан шәһәре матур.\nКүлмәк!")
    page.locator("#measure").click()
    for name in ("perplexity", "bits_per_character", "bits_per_byte", "tokens_per_word"):
        field = page.locator(f"#{name} textarea, #{name} input")
        expect(field).to_have_value(re.compile(r"^[\d\u00a0]+,\d+$"))
    text = "".join(page.locator("#cut .text").all_inner_texts())
    assert text.replace("\n", "") == "Казан шәһәре матур.Күлмәк!"


def test_nothing_to_measure(server: Any, visit: Any) -> None:
    page = visit(server.url, "ru-RU")
    go_to(page, say("tab_measure", "ru"))
    page.locator("#measured textarea").fill(" ")
    page.locator("#measure").click()
    expect(page.get_by_text(say("empty", "ru"))).to_be_visible()


def test_the_card_and_the_curve(server: Any, visit: Any) -> None:
    page = visit(server.url)
    go_to(page, say("tab_about", "tt"))
    for words in ("primer", "2 катлам, 2 игътибар башы", say("about_loss", "tt")):
        expect(page.locator("#card")).to_contain_text(words)
    expect(page.locator("#curve canvas, #curve svg.marks").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window(scheme: str, server: Any, visit: Any) -> None:
    page = visit(server.url, "ru-RU", width=390, color_scheme=scheme, has_touch=True)
    for tab in TABS:
        name = say(tab, "ru")
        if not page.get_by_role("tab", name=name, exact=True).is_visible():
            page.locator(".overflow-menu > button").click()
            page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
        else:
            go_to(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, tab
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3]))
    assert brightness > 600 if scheme == "light" else brightness < 150


def test_the_keyboard_is_enough(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#language input").first.focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.closest('[id]:not([role=tab])')?.id ?? ''")
        )
        if reached[-1] == "prompt":
            page.keyboard.type("Казан")
        if reached[-1] == "go":
            page.keyboard.press("Enter")
            break
    expect(page.locator("#text textarea")).to_have_value(re.compile("^Казан .+"))


def test_every_field_has_a_name_for_a_screen_reader(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#settings button").first.click()
    for tab in TABS:
        go_to(page, say(tab, "tt"))
        nameless = page.evaluate(
            """[...document.querySelectorAll("input, textarea, button, select")]
                .filter((e) => e.checkVisibility())
                .filter((e) => !e.labels?.length && !e.ariaLabel && !e.innerText.trim()
                    && !e.getAttribute("aria-labelledby") && !e.title)
                .map((e) => e.outerHTML.slice(0, 200))"""
        )
        assert nameless == []


def test_letters_of_one_word_come_from_one_font(server: Any, visit: Any) -> None:
    page = visit(server.url)
    page.locator("#prompt textarea").fill("Әйдә, көн җылы, һава тыңгысыз, үзең бел. ӘӨҮҖҢҺ")
    page.locator("#go").click()
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument", {"depth": -1})["root"]["nodeId"]
    mixed, seen = [], 0
    for selector in ("h1", "button", "label", "span", "p", "textarea", "td"):
        found = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": selector})
        for node in found["nodeIds"]:
            fonts = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
            seen += bool(fonts)
            if len({font["familyName"] for font in fonts}) > 1:
                html = devtools.send("DOM.getOuterHTML", {"nodeId": node})["outerHTML"]
                mixed.append((html[:200], fonts))
    assert seen > 20
    assert mixed == []


HOSTILE = {
    "special": "<bos> <eos> <pad> Казан",
    "markup": "<img src=x onerror='window.broken=1'><script>window.broken=1</script> **а** [а](б)",
    "control": "Казан\u0000\u0007\u200b\u202e шәһәре",
    "scripts": "日本語 עברית 👩\u200d👩\u200d👧 Ҡаҙан",
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_typed_is_text_and_nothing_else(kind: str, server: Any, visit: Any) -> None:
    text = HOSTILE[kind]
    page = visit(server.url)
    page.locator("#prompt textarea").fill(text)
    page.locator("#go").click()
    expect(page.locator("#text textarea")).to_have_value(re.compile("^" + re.escape(text)))
    go_to(page, say("tab_inside", "tt"))
    page.locator("#looked_at textarea").fill(text)
    page.locator("#look").click()
    expect(page.locator("#surprise .text").first).to_be_visible()
    page.locator("#surprise .text").nth(1).click()
    expect(page.locator("#alternatives label")).to_have_count(10)
    shown = "".join(page.locator("#surprise .text").evaluate_all("a => a.map(e => e.textContent)"))
    assert text.replace("\u0000", "") in shown.replace("\u0000", "")
    go_to(page, say("tab_measure", "tt"))
    page.locator("#measured textarea").fill(text)
    page.locator("#measure").click()
    expect(page.locator("#cut .text").first).to_be_visible()
    assert page.evaluate("window.broken") is None


def test_a_hundred_thousand_characters(server: Any, visit: Any) -> None:
    page = visit(server.url, "en-US")
    page.locator("#prompt textarea").fill("а" * 100_000)
    page.locator("#go").click()
    expect(page.get_by_text("The text is too long: 100000 characters")).to_be_visible()
