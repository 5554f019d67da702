"""Components that change their words with the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from interface.texts import say

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
