"""The page: a language, five tabs, and what is common to them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from config import SAMPLE_NAME
from interface import about_tab, compare_tab, inside_tab, measure_tab, write_tab
from interface.api import publish
from interface.service import Service
from interface.texts import LANGUAGES, TEXTS, language_of, say
from interface.words import PRIVATE, Words, tell
from pipeline.errors import TatarGPTError

FIRST_LANGUAGE = "tt"

# Ctrl+Enter is the tab's main button, also where Gradio knows Shift+Enter alone.
JS = """() => {
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey && event.key === "Enter") {
            const panel = event.target.closest("[role=tabpanel]");
            panel?.querySelector("button.primary")?.click();
        }
    });
}"""

# The first and every later choice: for screen readers; and the page is ready.
SPEAK = """(language) => {
    document.documentElement.lang = language;
    document.documentElement.dataset.ready = "";
}"""

# Tokens stand as close as in the text; Gradio leaves blanks between their elements.
CSS = """
#surprise .textfield *, #cut .textfield * {margin: 0; padding: 0; border-radius: 0; font-size: 0;}
#surprise .token, #cut .token {display: inline-block;}
#surprise .textfield .text, #cut .textfield .text {font-size: var(--text-lg);}
#surprise .token:is(:hover, :focus-visible) {outline: 2px solid var(--color-accent);}
#alternatives .wrap {flex-direction: column; gap: 2px;}
#alternatives label {padding-block: 4px;}
#card thead {display: none;}
"""


def build_page(service: Service) -> gr.Blocks:
    """The page as a gradio.Blocks."""
    words = Words(FIRST_LANGUAGE)
    with gr.Blocks(title=say("title", FIRST_LANGUAGE), analytics_enabled=False) as page:
        remembered = gr.BrowserState(None, storage_key="tatar-gpt-language")
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
                service.load()
                gr.Info(say("reloaded", chosen), title=say("notice", chosen))
            except (TatarGPTError, OSError) as error:
                tell(chosen, "not_reloaded", reason=error)
            return [offer(chosen), *words.updates(chosen)]

        everything = words.components
        ready = page.load(begin, remembered, [language, reload, *everything], **PRIVATE)
        ready.then(None, language, None, js=SPEAK, **PRIVATE)
        language.change(None, language, None, js=SPEAK, **PRIVATE)
        language.input(switch, language, [remembered, reload, *everything], **PRIVATE)
        reload.click(open_new, language, [reload, *everything], **PRIVATE)
    return page


def introduction(service: Service, language: str) -> str:
    """The heading, and what the model is."""
    lines = [f"# {say('title', language)}", say("intro", language)]
    if SAMPLE_NAME in str(service.model.card.get("corpus", "")):
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
    )
    return {"theme": theme, "css": CSS, "js": JS}
