"""Measuring: how well the model predicts a text, and how the text is cut into tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import REFERENCE_SENTENCES
from interface.handlers import OWN, in_line, politely
from interface.service import Service, Waiting
from interface.texts import number
from interface.words import Words

# What is shown, and to how many decimal places.
FIGURES = {
    "perplexity": 1,
    "bits_per_character": 3,
    "bits_per_byte": 3,
    "tokens": 0,
    "tokens_per_word": 2,
}
# Neighbouring tokens have one and the other, in light and dark alike.
STRIPES = {"a": "#4f8f6f", "b": "#8f6fb0"}


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    text = words.make(
        gr.Textbox, {"label": "text", "placeholder": "measure_hint"},
        value="\n".join(REFERENCE_SENTENCES), lines=4, elem_id="measured",
    )  # fmt: skip
    go = words.make(gr.Button, {"value": "measure"}, variant="primary", elem_id="measure")
    with gr.Row():
        figures = [
            words.make(gr.Textbox, {"label": key}, interactive=False, elem_id=key, min_width=120)
            for key in FIGURES
        ]
    words.make(gr.Markdown, {"value": "measure_info"})
    cut = words.make(
        gr.HighlightedText, {"label": "cut"}, color_map=STRIPES, interactive=False,
        show_inline_category=False, elem_id="cut",
    )  # fmt: skip

    status = gr.Markdown()

    @politely
    def show(text: str, language: str) -> Iterator[list[Any]]:
        for measured in service.measure(text):
            if isinstance(measured, Waiting):
                yield [gr.skip()] * (len(FIGURES) + 1) + [in_line(measured, language)]
                continue
            values = [number(getattr(measured, key), language, FIGURES[key]) for key in FIGURES]
            striped = [
                (piece.text or "\n", "ab"[place % 2]) for place, piece in enumerate(measured.pieces)
            ]
            yield [*values, striped, ""]

    go.click(show, [text, language], [*figures, cut, status], **OWN)
