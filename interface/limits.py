"""What one visitor may ask for, and whose turn it is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Kept on the server, whatever the page or a program sends."""

    prompt_characters: int = 2_000
    text_characters: int = 10_000  # of a text to measure
    new_tokens: int = 400
    at_once: int = 2  # texts that grow at the same time
    waiting: int = 30  # visitors in the line
    seconds: float = 60.0  # for one text, from its first token on


class Busy(Exception):
    """The line is as long as it may be."""


class Line:
    """Visitors in the order they came: the first `at_once` are served, the others wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self.at_once = at_once
        self.longest = at_once + waiting
        self._places: list[Place] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many visitors are served or wait."""
        return len(self._places)

    @contextlib.contextmanager
    def place(self) -> Iterator[Place]:
        """A place at the end of the line until the block is left. Raises Busy."""
        place = Place(self)
        with self._changed:
            if len(self._places) >= self.longest:
                raise Busy
            self._places.append(place)
        try:
            yield place
        finally:
            with self._changed:
                self._places.remove(place)
                self._changed.notify_all()

    def _ahead(self, place: Place) -> int:
        return max(0, self._places.index(place) - self.at_once + 1)


class Place:
    """One visitor's place in a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def ahead(self) -> int:
        """How many must leave before this visitor is served; 0 when it is his turn."""
        with self._line._changed:
            return self._line._ahead(self)

    def wait(self, seconds: float) -> bool:
        """Whether it is this visitor's turn, at once or within so many seconds."""
        with self._line._changed:
            return self._line._changed.wait_for(lambda: not self._line._ahead(self), seconds)
