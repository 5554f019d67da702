"""Looking inside: what surprises the model in a text, and what it would have written instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import EOS_ID, MIN_P, REFERENCE_SENTENCES
from interface.handlers import OWN, in_line, politely
from interface.service import Service, Waiting
from interface.texts import number, say
from interface.words import Words
from utils import NextToken

BITS_OF_THE_DARKEST = 15.0
DARKEST = 0.8  # of Gradio's red: text on it stays legible
ALTERNATIVES = 10
NEW_TOKENS = 60
BYTES = re.compile(r"(\\x[0-9a-f]{2})+")  # of a letter that the tokens after make whole
CHOICE = re.compile(r"([0-9]{1,6}) (.*)", re.DOTALL)  # a token, and the text before it
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
        gr.Textbox, {"label": "continuation"}, lines=3, interactive=False, visible=False,
        elem_id="continued",
    )  # fmt: skip
    status = gr.Markdown()
    hidden = gr.update(visible=False)

    @politely
    def colour(text: str, language: str) -> Iterator[dict[Any, Any]]:
        for pieces in service.surprisals(text):
            if isinstance(pieces, Waiting):
                yield {status: in_line(pieces, language)}
                continue
            shown = [
                (piece.text or END, DARKEST * min(1.0, piece.bits / BITS_OF_THE_DARKEST))
                for piece in pieces
            ]
            yield {
                coloured: shown, alternatives: hidden, info: hidden, continued: hidden, status: ""
            }  # fmt: skip

    @politely
    def ask(
        coloured: list[dict[str, Any]], language: str, event: gr.SelectData
    ) -> Iterator[dict[Any, Any]]:
        pieces = [piece["token"] for piece in coloured]
        chosen = event.index if isinstance(event.index, int) else event.index[0]
        before = "".join(pieces[:chosen]).split(END)[-1]
        for found in service.next_tokens(before, ALTERNATIVES):
            if isinstance(found, Waiting):
                yield {status: in_line(found, language)}
                continue
            # The first word of a text has a blank in its token.
            actual = pieces[chosen] if before or pieces[chosen] == END else f" {pieces[chosen]}"
            # The value of a choice: the token, and the text before it.
            options = [(label(token, actual, language), f"{token.id} {before}") for token in found]
            question = say("alternatives", language, token=pieces[chosen].strip())
            yield {
                alternatives: gr.update(choices=options, label=question, value=None, visible=True),
                bars: _bars([token.probability for token in found]),
                info: gr.update(visible=True),
                continued: hidden,
                status: "",
            }

    @politely
    def go_on(choice: str, language: str) -> Iterator[dict[Any, Any]]:
        found = CHOICE.fullmatch(choice)
        if found is None:
            return
        token, before = int(found[1]), found[2]
        is_end = token == EOS_ID
        settings = {"min_p": MIN_P, "max_new_tokens": 0 if is_end else NEW_TOKENS}
        for news in service.write([before], [settings], () if is_end else [token]):
            if isinstance(news, Waiting):
                yield {status: in_line(news, language)}
            else:
                yield {continued: gr.update(value=news.texts[0], visible=True), status: ""}

    gr.on(
        [look.click, text.submit],
        colour, [text, language], [coloured, alternatives, info, continued, status], **OWN,
    )  # fmt: skip
    coloured.select(
        ask, [coloured, language], [alternatives, bars, info, continued, status],
        trigger_mode="always_last", scroll_to_output=True, **OWN,
    )  # fmt: skip
    alternatives.input(
        go_on, [alternatives, language], [continued, status],
        trigger_mode="always_last", preprocess=False, **OWN,
    )  # fmt: skip


def label(token: NextToken, actual: str, language: str) -> str:
    """How a choice is shown: its probability, its text, and whether it is what stands there."""
    percent = 100 * token.probability
    share = number(percent, language, 1) if percent >= 0.1 else f"< {number(0.1, language, 1)}"
    text = BYTES.sub("…", token.text) or say("end_of_sentence", language)
    mark = " ✓" if (token.text or END) == actual else ""
    return f"{share} %  {text}{mark}"


def _bars(shares: list[float]) -> str:
    """Each choice has a bar behind it."""
    rules = [
        f"#alternatives label:nth-of-type({n}) {{background: linear-gradient(to right, "
        f"color-mix(in srgb, var(--color-accent) 35%, transparent) {share:.1%}, "
        f"transparent {share:.1%});}}"
        for n, share in enumerate(shares, start=1)
    ]
    return f"<style>{''.join(rules)}</style>"
