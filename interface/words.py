"""Components that change their words with the language."""

from __future__ import annotations

import functools
import html
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from interface.service import News, Refused, Service
from interface.texts import number, say

# The page's own events are no part of the API.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}

# What a property says: a key of texts.py, or a function of the language.
Source = str | Callable[[str], Any]


class Words:
    """Makes components in one language, and says what each becomes in another."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.components: list[Any] = []
        self._sources: list[Mapping[str, Source]] = []

    def make(self, component: Callable[..., Any], words: Mapping[str, Source], **rest: Any) -> Any:
        """A component whose properties in `words` follow the language."""
        made = component(**_spoken(words, self.language), **rest)
        self.components.append(made)
        self._sources.append(words)
        return made

    def updates(self, language: str) -> list[dict[str, Any]]:
        """What every component shows in this language, in the order of `components`."""
        return [gr.update(**_spoken(words, language)) for words in self._sources]


def _spoken(words: Mapping[str, Source], language: str) -> dict[str, Any]:
    return {
        name: say(source, language) if isinstance(source, str) else source(language)
        for name, source in words.items()
    }


def choices(*keys: str) -> Callable[[str], list[tuple[str, str]]]:
    """The choices of a radio: what they say, and their keys."""
    return lambda language: [(say(key, language), key) for key in keys]


def in_line(service: Service) -> dict[str, Any]:
    """For an event that uses the model: Gradio lets all through, the service decides."""
    return {"concurrency_limit": 2 * service.line.longest, "concurrency_id": "model"}


def politely(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A handler that tells a visitor, in his language, why he gets nothing.

    `language` must be among the handler's parameters.
    """
    parameters = list(inspect.signature(handler).parameters)

    @functools.wraps(handler)
    def answer(*inputs: Any) -> Iterator[Any]:
        language = inputs[parameters.index("language")]
        try:
            yield from handler(*inputs)
        except Refused as refused:
            tell(language, refused.key, **refused.values)
        except Exception:  # the visitor is told at once; the cause is for whoever runs the server
            traceback.print_exc()
            tell(language, "failed")

    return answer


def tell(language: str, key: str, **values: object) -> None:
    """A note at the edge of the page. What it shows is text, never HTML."""
    gr.Warning(html.escape(say(key, language, **values)), title=say("notice", language))


def figures(news: News, service: Service, language: str) -> str:
    """The line under a text."""
    if news.ahead:
        return say("waiting", language, ahead=news.ahead)
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
