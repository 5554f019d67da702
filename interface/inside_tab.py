"""Looking inside: what surprises the model in a text, and what it would have written instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import MIN_P, REFERENCE_SENTENCES
from interface.service import Refused, Service
from interface.texts import say
from interface.words import PRIVATE, Words, in_line, tell

BITS_OF_THE_DARKEST = 15.0
ALTERNATIVES = 10
NEW_TOKENS = 60


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
    pieces = gr.State([])  # (start, end) of each piece that is shown
    chosen = gr.State(0)  # where the chosen piece begins

    def colour(text: str, language: str) -> tuple[Any, Any, Any]:
        try:
            found = service.surprisals(text)
        except Refused as refused:
            tell(refused, language)
            return gr.skip(), gr.skip(), gr.skip()
        shown = [(piece.text or "⏎", min(1.0, piece.bits / BITS_OF_THE_DARKEST)) for piece in found]
        return shown, [(piece.start, piece.end) for piece in found], gr.update(visible=False)

    def ask(
        text: str, pieces: list[tuple[int, int]], language: str, event: gr.SelectData
    ) -> tuple[Any, ...]:
        start, end = pieces[event.index if isinstance(event.index, int) else event.index[0]]
        try:
            found = service.next_tokens(text[:start].split("\n")[-1], ALTERNATIVES)
        except Refused as refused:
            tell(refused, language)
            return (gr.skip(),) * 4
        options = [
            (f"{token.probability:.1%}  {token.text or say('end_of_sentence', language)}", str(n))
            for n, token in enumerate(found)
        ]
        label = say("alternatives", language, token=text[start:end] or "⏎")
        return (
            gr.update(choices=options, label=label, value=None, visible=True),
            _bars([token.probability for token in found]),
            start,
            gr.update(visible=True),
        )

    def go_on(text: str, start: int, choice: str, language: str) -> Iterator[Any]:
        before = text[:start]
        try:
            token = service.next_tokens(before.split("\n")[-1], ALTERNATIVES)[int(choice)]
            prompt = before + token.text if before else token.text.lstrip(" ")
            settings = {"min_p": MIN_P, "max_new_tokens": NEW_TOKENS if token.text else 0}
            for news in service.write([prompt], [settings]):
                yield gr.update(value=news.texts[0], visible=True)
        except Refused as refused:
            tell(refused, language)

    shared = {**PRIVATE, **in_line(service)}
    for event in (look.click, text.submit):
        event(colour, [text, language], [coloured, pieces, alternatives], **shared)
    coloured.select(ask, [text, pieces, language], [alternatives, bars, chosen, info], **shared)
    alternatives.input(go_on, [text, chosen, alternatives, language], continued, **shared)


def _bars(shares: list[float]) -> str:
    """Each choice has a bar behind it."""
    rules = [
        f"#alternatives label:nth-of-type({n}) {{background: linear-gradient(to right, "
        f"var(--color-accent-soft) {share:.1%}, transparent {share:.1%});}}"
        for n, share in enumerate(shares, start=1)
    ]
    return f"<style>{''.join(rules)}</style>"
