"""What programs may ask for: four named endpoints with typed answers."""

# No `from __future__ import annotations`: Gradio reads the types of the answers from the functions.
import dataclasses
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.events import api

from config import MIN_P, STYLES
from interface.handlers import explain
from interface.service import Service
from interface.texts import LANGUAGES


def publish(service: Service) -> None:
    """Add the endpoints to the gradio.Blocks that is being built."""

    def generate(
        prompt: str,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = MIN_P,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        stop_at_eos: bool = True,
        language: str = "en",
    ) -> str:
        """The prompt and what the model writes after it; messages in `language` (tt, ru, en)."""
        settings = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
            "stop_at_eos": stop_at_eos,
        }
        return _answer(service.write([prompt], [settings]), language).texts[0]

    def compare(
        prompt: str, max_new_tokens: int = 60, seed: int | None = None, language: str = "en"
    ) -> dict[str, str]:
        """One prompt at three temperatures: careful, balanced, bold."""
        settings = [
            {"temperature": t, "max_new_tokens": max_new_tokens, "min_p": MIN_P, "seed": seed}
            for t in STYLES.values()
        ]
        last = _answer(service.write([prompt] * len(settings), settings), language)
        return dict(zip(STYLES, last.texts, strict=True))

    def next_tokens(
        prompt: str, k: int = 10, language: str = "en"
    ) -> list[dict[str, str | int | float]]:
        """The k likeliest tokens after a prompt: id, text ("" ends the sentence), probability."""
        found = _answer(service.next_tokens(prompt, k), language)
        return [dataclasses.asdict(token) for token in found]

    def measure(text: str, language: str = "en") -> dict[str, float | list[dict[str, Any]]]:
        """How well the model predicts a text, a sentence a line, and the bits of each piece."""
        return dataclasses.asdict(_answer(service.measure(text), language))

    for endpoint in (generate, compare, next_tokens, measure):
        api(endpoint, api_name=endpoint.__name__, concurrency_limit=None)


def _answer(news: Iterator[Any], language: str) -> Any:
    """The last of the news."""
    try:
        last = None
        for each in news:
            last = each
        return last
    except Exception as error:
        if language not in tuple(LANGUAGES):
            language = "en"
        raise gr.Error(explain(error, language), print_exception=False) from None
