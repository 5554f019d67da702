"""What the page's event handlers have in common."""

from __future__ import annotations

import functools
import html
import inspect
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from interface.service import News, Refused, Service, Waiting
from interface.texts import number, say

# For each of the page's own events: no part of the API, none waits for another, and what Gradio
# would show of its progress is in English.
OWN: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": None,
    "show_progress": "hidden",
}

SECONDS_OF_A_NOTE = 6


def politely(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A handler that tells a visitor, in his language, why he gets nothing.

    `language` must be among the handler's parameters.
    """
    parameters = list(inspect.signature(handler).parameters)

    @functools.wraps(handler)
    def answer(*inputs: Any) -> Iterator[Any]:
        try:
            yield from handler(*inputs)
        except Exception as error:
            language = inputs[parameters.index("language")]
            tell(explain(error, language))
            yield gr.skip()  # what was written stays

    return answer


def explain(error: Exception, language: str) -> str:
    """Why there is no answer. The cause of what should not happen is printed for the operator."""
    if isinstance(error, Refused):
        return say(error.key, language, **error.values)
    traceback.print_exception(error)
    return say("failed", language)


def tell(words: str) -> None:
    """A note at the edge of the page. What it shows is text, never HTML."""
    gr.Warning(html.escape(words), duration=SECONDS_OF_A_NOTE)


def figures(news: News, service: Service, language: str) -> str:
    """The line under a text."""
    words = say(
        "figures",
        language,
        tokens=number(news.tokens, language),
        speed=number(news.tokens / max(news.seconds, 1e-9), language),
        used=news.context_used,
        size=service.model.config.block_size,
    )
    if news.is_out_of_time:
        words += " · " + say("out_of_time", language, seconds=round(service.limits.seconds))
    return words


def in_line(waiting: Waiting, language: str) -> str:
    """How long the line is."""
    return say("waiting", language, ahead=waiting.ahead)
