"""What programs may ask for: four named endpoints with typed answers."""

# No `from __future__ import annotations`: Gradio reads the types of the answers from the functions.
import dataclasses
from collections.abc import Iterable
from typing import Any

import gradio as gr
from gradio.events import api

from config import MIN_P, STYLES
from interface.service import News, Refused, Service
from interface.texts import LANGUAGES, say
from interface.words import in_line


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
        return _texts(lambda: service.write([prompt], [settings]), language)[0]

    def compare(
        prompt: str, max_new_tokens: int = 60, seed: int | None = None, language: str = "en"
    ) -> dict[str, str]:
        """One prompt at three temperatures: careful, balanced, bold."""
        settings = [
            {"temperature": t, "max_new_tokens": max_new_tokens, "min_p": MIN_P, "seed": seed}
            for t in STYLES.values()
        ]
        prompts = [prompt] * len(settings)
        texts = _texts(lambda: service.write(prompts, settings), language)
        return dict(zip(STYLES, texts, strict=True))

    def next_tokens(
        prompt: str, k: int = 10, language: str = "en"
    ) -> list[dict[str, str | int | float]]:
        """The k likeliest tokens after a prompt: id, text ("" ends the sentence), probability."""
        found = _answer(lambda: service.next_tokens(prompt, k), language)
        return [dataclasses.asdict(token) for token in found]

    def measure(text: str, language: str = "en") -> dict[str, float | list[dict[str, Any]]]:
        """How well the model predicts a text, a sentence a line, and the bits of each piece."""
        return dataclasses.asdict(_answer(lambda: service.measure(text), language))

    for endpoint in (generate, compare, next_tokens, measure):
        api(endpoint, api_name=endpoint.__name__, **in_line(service))


def _texts(write: Any, language: str) -> list[str]:
    def last() -> News:
        news: Iterable[News] = write()
        *_, end = news
        return end

    return _answer(last, language).texts


def _answer(ask: Any, language: str) -> Any:
    try:
        return ask()
    except Refused as refused:
        if language not in tuple(LANGUAGES):
            language = "en"
        words = say(refused.key, language, **refused.values)
        raise gr.Error(words, print_exception=False) from None
