"""Looking inside: what surprises the model in a text, and what it would have written instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import MIN_P, REFERENCE_SENTENCES
from interface.service import Service
from interface.texts import number, say
from interface.words import PRIVATE, Words, in_line, politely

BITS_OF_THE_DARKEST = 15.0
ALTERNATIVES = 10
NEW_TOKENS = 60
BYTES = re.compile(r"(\\x[0-9a-f]{2})+")  # of a letter that the next tokens make whole
END = "⏎\n"  # how the end of a sentence is shown; no piece of a line holds a line end


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    text = words.make(
        gr.Textbox, {"label": "text"}, value=REFERENCE_SENTENCES[0], lines=2, elem_id="looked_at"
    )
    look = words.make(gr.Button, {"value": "look"}, variant="primary", elem_id="look")
    coloured = words.make(
        gr.HighlightedText, {"label": "surprise"}, color_map={}, interactive=False,
        elem_id="surprise",
    )  # fmt: skip
    words.make(gr.Markdown, {"value": "surprise_info"})
    alternatives = gr.Radio([], visible=False, elem_id="alternatives")
    bars = gr.HTML(visible="hidden")
    info = words.make(gr.Markdown, {"value": "alternatives_info"}, visible=False)
    continued = words.make(
        gr.Textbox, {"label": "text"}, lines=3, interactive=False, visible=False,
        elem_id="continued",
    )  # fmt: skip
    hidden = gr.update(visible=False)

    @politely
    def colour(text: str, language: str) -> Iterator[tuple[Any, ...]]:
        pieces = service.surprisals(text)
        shown = [
            (piece.text or END, min(1.0, piece.bits / BITS_OF_THE_DARKEST)) for piece in pieces
        ]
        yield shown, hidden, hidden, hidden

    @politely
    def ask(
        coloured: list[dict[str, Any]], language: str, event: gr.SelectData
    ) -> Iterator[tuple[Any, ...]]:
        pieces = [piece["token"] for piece in coloured]
        chosen = event.index if isinstance(event.index, int) else event.index[0]
        before = "".join(pieces[:chosen]).split(END)[-1]
        found = service.next_tokens(before, ALTERNATIVES)
        # The value of a choice is the text that would stand there.
        options = [
            (
                f"{number(100 * token.probability, language, 1)} %  "
                + (BYTES.sub("…", token.text) or say("end_of_sentence", language)),
                (before + (BYTES.sub("", token.text) if token.text else END)).lstrip(" "),
            )
            for token in found
        ]
        label = say("alternatives", language, token=pieces[chosen].strip())
        yield (
            gr.update(choices=options, label=label, value=None, visible=True),
            _bars([token.probability for token in found]),
            gr.update(visible=True),
            hidden,
        )

    @politely
    def go_on(choice: str, language: str) -> Iterator[Any]:
        if choice.endswith(END):
            yield gr.update(value=choice.removesuffix(END), visible=True)
            return
        for news in service.write([choice], [{"min_p": MIN_P, "max_new_tokens": NEW_TOKENS}]):
            yield gr.update(value=news.texts[0], visible=True)

    shared: dict[str, Any] = {**PRIVATE, **in_line(service)}
    for event in (look.click, text.submit):
        event(colour, [text, language], [coloured, alternatives, info, continued], **shared)
    coloured.select(ask, [coloured, language], [alternatives, bars, info, continued], **shared)
    alternatives.input(go_on, [alternatives, language], continued, **shared)


def _bars(shares: list[float]) -> str:
    """Each choice has a bar behind it."""
    rules = [
        f"#alternatives label:nth-of-type({n}) {{background: linear-gradient(to right, "
        f"color-mix(in srgb, var(--color-accent) 35%, transparent) {share:.1%}, "
        f"transparent {share:.1%});}}"
        for n, share in enumerate(shares, start=1)
    ]
    return f"<style>{''.join(rules)}</style>"
