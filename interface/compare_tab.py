"""Comparing: one prompt at three temperatures, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from config import MIN_P, REFERENCE_PROMPTS, STYLES
from interface.handlers import OWN, figures, in_line, politely
from interface.service import Service, Waiting
from interface.texts import number, say
from interface.words import Words

NEW_TOKENS = 60


def title(style: str, language: str) -> str:
    """A column's heading: the style and its temperature."""
    return f"{say(style, language)} ({number(STYLES[style], language, 1)})"


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    words.make(gr.Markdown, {"value": "compare_intro"})
    prompt = words.make(
        gr.Textbox, {"label": "prompt", "placeholder": "prompt_hint"},
        value=REFERENCE_PROMPTS[1], elem_id="compared",
    )  # fmt: skip
    with gr.Row():
        go = words.make(
            gr.Button, {"value": "compare"}, min_width=100, variant="primary", elem_id="compare"
        )
        stop = words.make(gr.Button, {"value": "stop"}, min_width=100)
    with gr.Row():
        texts = [
            words.make(
                gr.Textbox, {"label": partial(title, key)},
                lines=6, interactive=False, elem_id=f"text_{key}",
            )
            for key in STYLES
        ]  # fmt: skip
    status = gr.Markdown()
    waiting = gr.Markdown()

    @politely
    def show(prompt: str, language: str) -> Iterator[list[Any]]:
        settings = [
            {"temperature": temperature, "min_p": MIN_P, "max_new_tokens": NEW_TOKENS}
            for temperature in STYLES.values()
        ]
        for news in service.write([prompt] * len(settings), settings):
            if isinstance(news, Waiting):
                yield [*[prompt] * len(settings), gr.skip(), in_line(news, language)]
            else:
                yield [*news.texts, figures(news, service, language), ""]

    run = gr.on(
        [go.click, prompt.submit], show, [prompt, language], [*texts, status, waiting], **OWN
    )
    stop.click(lambda: "", None, waiting, cancels=run, **OWN)
