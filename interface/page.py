"""The page: a language, five tabs, and what is common to them."""

from __future__ import annotations

import sys
from typing import Any

import gradio as gr

from config import SAMPLE_NAME
from interface import about_tab, compare_tab, inside_tab, measure_tab, write_tab
from interface.api import publish
from interface.handlers import OWN, SECONDS_OF_A_NOTE, tell
from interface.service import Service
from interface.texts import LANGUAGES, TEXTS, language_of, say
from interface.words import Words
from utils import TatarGPTError

FIRST_LANGUAGE = "tt"
SECONDS_BETWEEN_OFFERS = 20  # how soon an open page learns of a new model

# Ctrl+Enter (Cmd+Enter) is the tab's main button, also where Gradio knows Shift+Enter alone; a
# field is left first, so that what was typed there counts. What is written comes into view.
JS = """() => {
    document.body.spellcheck = false;
    document.addEventListener("keydown", (event) => {
        if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
            event.preventDefault();
            document.activeElement.blur();
            event.target.closest("[role=tabpanel]")?.querySelector("button.primary")?.click();
        }
    });
    document.addEventListener("click", (event) => {
        if (event.target.closest("#go, #again, #from_here")) {
            document.querySelector("#text").scrollIntoView({block: "nearest", behavior: "smooth"});
        }
    });
}"""

# The first and every later choice: for screen readers; and the page is ready.
SPEAK = """(language) => {
    document.documentElement.lang = language;
    document.documentElement.dataset.ready = "";
}"""

# Tokens stand as close as in the text, a sentence a line; Gradio leaves blanks between their
# elements. The heading of its notes and its words on progress are English.
CSS = """
#surprise .textfield, #cut .textfield {display: block; line-height: 2;}
#surprise .textfield *, #cut .textfield * {
    display: inline; margin: 0; padding: 0; border-radius: 0; font-size: 0;
}
#surprise .textfield .text, #cut .textfield .text {
    font-size: var(--text-lg); white-space: pre-wrap; background: inherit; padding-block: 5px;
}
#surprise .token:is(:hover, :focus-visible) .text {outline: 2px solid var(--color-accent);}
.dark #cut .text {color: white;}
#alternatives .wrap {flex-direction: column; gap: 2px;}
#alternatives label {padding-block: 4px;}
#card td {word-break: normal; overflow-wrap: normal;}
#card thead, .toast-title-row .toast-title, .progress-text {display: none;}
body:not(.dark) button[role=tab].selected {color: var(--primary-700);}
"""


def build_page(service: Service) -> gr.Blocks:
    """The page as a gradio.Blocks."""
    words = Words(FIRST_LANGUAGE)
    with gr.Blocks(title=say("title", FIRST_LANGUAGE), analytics_enabled=False) as page:
        # Its secret protects nothing; a random one would be forgotten with the server.
        remembered = gr.BrowserState(
            None,
            storage_key="tatar-gpt-language",
            secret="tatar-gpt",  # noqa: S106
        )
        with gr.Row():
            with gr.Column(scale=3):
                words.make(gr.Markdown, {"value": lambda language: introduction(service, language)})
            with gr.Column(scale=2, min_width=310):
                language = gr.Radio(
                    [(name, key) for key, name in LANGUAGES.items()],
                    value=FIRST_LANGUAGE,
                    label=" · ".join(TEXTS["language"]),
                    elem_id="language",
                )
        reload = gr.Button(visible=False, elem_id="reload")
        for name, build in (
            ("tab_write", write_tab.build),
            ("tab_compare", compare_tab.build),
            ("tab_inside", inside_tab.build),
            ("tab_measure", measure_tab.build),
        ):
            with words.make(gr.Tab, {"label": name}, id=name):
                build(service, words, language)
        with words.make(gr.Tab, {"label": "tab_about"}, id="tab_about"):
            about_tab.build(service, words)
        publish(service)

        def begin(remembered: str | None, request: gr.Request) -> list[Any]:
            asked = request.headers.get("accept-language")
            chosen = remembered if remembered in LANGUAGES else language_of(asked)
            return [chosen, offer(chosen), *words.updates(chosen)]

        def offer(chosen: str) -> dict[str, Any]:
            label = f"{say('replaced', chosen)} {say('reload', chosen)}"
            return gr.update(value=label, visible=service.is_replaced)

        def switch(chosen: str) -> list[Any]:
            return [chosen, offer(chosen), *words.updates(chosen)]

        def open_new(chosen: str) -> list[Any]:
            try:
                if service.is_replaced:
                    service.load()
                gr.Info(say("reloaded", chosen), duration=SECONDS_OF_A_NOTE)
            except (TatarGPTError, OSError) as error:
                print(f"The new model could not be opened: {error}", file=sys.stderr)
                tell(say("not_reloaded", chosen))
            return [offer(chosen), *words.updates(chosen)]

        everything = words.components
        ready = page.load(begin, remembered, [language, reload, *everything], **OWN)
        ready.then(None, language, None, js=SPEAK, **OWN)
        language.change(None, language, None, js=SPEAK, **OWN)
        language.input(
            switch, language, [remembered, reload, *everything], trigger_mode="always_last", **OWN
        )
        reload.click(open_new, language, [reload, *everything], **OWN)
        gr.Timer(SECONDS_BETWEEN_OFFERS).tick(offer, language, reload, **OWN)
    return page


def introduction(service: Service, language: str) -> str:
    """The heading, and what the model is."""
    lines = [f"# {say('title', language)}", say("intro", language)]
    if service.model.card.get("corpus") == SAMPLE_NAME:
        lines.append(say("on_sample", language))
    return "\n\n".join(lines)


def appearance() -> dict[str, Any]:
    """Theme, style and script for `launch`; everything comes from this machine."""
    # Gradio's own font lacks Tatar letters in bold; LocalFont asks no other server.
    sans = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700))
    mono = gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700))
    theme = gr.themes.Default(
        primary_hue="emerald",
        font=[sans, "system-ui", "sans-serif"],
        font_mono=[mono, "monospace"],
    ).set(  # contrast of at least 4.5 to 1
        block_info_text_color="*neutral_500",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )
    return {"theme": theme, "css": CSS, "js": JS}
