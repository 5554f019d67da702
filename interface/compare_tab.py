"""Comparing: one prompt at three temperatures, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import gradio as gr

from config import MIN_P, REFERENCE_PROMPTS, STYLES
from interface.service import Refused, Service
from interface.texts import say
from interface.words import PRIVATE, Words, figures, in_line, tell

NEW_TOKENS = 60


def title(style: str, language: str) -> str:
    """A column's heading: the style and its temperature."""
    return f"{say(style, language)} ({STYLES[style]:g})"


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    words.make(gr.Markdown, {"value": "compare_intro"})
    prompt = words.make(
        gr.Textbox, {"label": "prompt", "placeholder": "prompt_hint"},
        value=REFERENCE_PROMPTS[1], elem_id="compared",
    )  # fmt: skip
    with gr.Row():
        go = words.make(gr.Button, {"value": "compare"}, variant="primary", elem_id="compare")
        stop = words.make(gr.Button, {"value": "stop"}, variant="stop")
    with gr.Row():
        texts = [
            words.make(
                gr.Textbox, {"label": partial(title, key)},
                lines=6, interactive=False, buttons=["copy"], elem_id=f"text_{key}",
            )
            for key in STYLES
        ]  # fmt: skip
    status = gr.Markdown()

    def show(prompt: str, language: str) -> Iterator[list[str]]:
        settings = [
            {"temperature": temperature, "min_p": MIN_P, "max_new_tokens": NEW_TOKENS}
            for temperature in STYLES.values()
        ]
        try:
            for news in service.write([prompt] * len(settings), settings):
                yield [*news.texts, figures(news, service, language)]
        except Refused as refused:
            tell(refused, language)

    shared = {
        "fn": show, "inputs": [prompt, language], "outputs": [*texts, status],
        **PRIVATE, **in_line(service),
    }  # fmt: skip
    runs = [go.click(**shared), prompt.submit(**shared)]
    stop.click(None, None, None, cancels=runs, queue=False, **PRIVATE)
