"""Measuring: how well the model predicts a text, and how the text is cut into tokens."""

from __future__ import annotations

from typing import Any

import gradio as gr

from config import REFERENCE_SENTENCES
from interface.service import Refused, Service
from interface.words import PRIVATE, Words, in_line, tell

FIGURES = ("perplexity", "bits_per_character", "bits_per_byte", "tokens", "tokens_per_word")


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

    def show(text: str, language: str) -> list[Any]:
        try:
            score, pieces = service.score(text), service.surprisals(text)
        except Refused as refused:
            tell(refused, language)
            return [gr.skip()] * (len(FIGURES) + 1)
        striped = [
            (piece.text, "ab"[number % 2]) for number, piece in enumerate(pieces) if piece.text
        ]
        return [
            f"{score.perplexity:,.1f}",
            f"{score.bits_per_character:.3f}",
            f"{score.bits_per_byte:.3f}",
            f"{score.tokens:,}",
            f"{score.tokens / len(text.split()):.2f}",
            striped,
        ]

    go.click(show, [text, language], [*figures, cut], **PRIVATE, **in_line(service))


# Neighbouring tokens have one and the other, in light and dark alike.
STRIPES = {"a": "#4f8f6f", "b": "#8f6fb0"}
