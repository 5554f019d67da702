"""One model that many visitors share: limits, turns, and what each of them gets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import ConfigError
from interface.limits import Busy, Limits, Line
from utils import (
    GrowingTexts,
    NextToken,
    Piece,
    Sampling,
    find_path,
    load_model,
    load_tokenizer,
    next_tokens,
    score_text,
    surprisals,
    valid_unicode,
)

MOST_ALTERNATIVES = 100
SECONDS_BETWEEN_NEWS = 0.04  # each message to the page costs it some 4 ms


class Refused(Exception):
    """A request that is not served; `key` and `values` say why in any language (texts.py)."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True)
class News:
    """How far some texts have come."""

    texts: list[str]  # prompts and what follows them
    ahead: int = 0  # visitors to wait for; nothing is written yet
    tokens: int = 0  # new ones, of all texts together
    seconds: float = 0.0  # of writing
    context_used: int = 0  # tokens that the model sees of the longest text
    is_over: bool = False
    is_out_of_time: bool = False


@dataclass(frozen=True)
class Measured:
    """How well the model predicts a text, and the pieces that it is cut into."""

    perplexity: float
    bits_per_character: float
    bits_per_byte: float
    tokens: int  # the end of each sentence is one
    tokens_per_word: float
    pieces: list[Piece]


@dataclass
class Service:
    """The model in a file, and the line before it."""

    model_path: Path
    tokenizer_dir: Path
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.model_path = find_path(self.model_path)
        self.started = time.time()
        self.line = Line(self.limits.at_once, self.limits.waiting)
        self.load()

    def load(self) -> None:
        """Open the model file as it is now. Raises what `load_model` raises, and keeps the old."""
        stamp = _stamp(self.model_path)
        model, _ = load_model(self.model_path, tokenizer_dir=self.tokenizer_dir)
        tokenizer, facts = load_tokenizer(self.tokenizer_dir)
        self.model, self.tokenizer, self.facts, self.opened = model, tokenizer, facts, stamp

    @property
    def is_replaced(self) -> bool:
        """Whether the file is no longer the one that was opened; the open model works on."""
        return _stamp(self.model_path) not in (None, self.opened)

    def write(self, prompts: Sequence[str], settings: Sequence[dict[str, Any]]) -> Iterator[News]:
        """Continue prompts, each with settings of its own. Raises Refused.

        Whoever takes no more news ends the work and leaves the line.
        """
        for prompt in prompts:
            self.check_length(prompt, self.limits.prompt_characters)
        try:
            samplings = [Sampling(**each) for each in settings]
        except ConfigError as error:
            raise Refused("out_of_range", problems="; ".join(error.problems)) from None
        if max(s.max_new_tokens for s in samplings) > self.limits.new_tokens:
            problem = f"--max-new-tokens: at most {self.limits.new_tokens}"
            raise Refused("out_of_range", problems=problem)
        try:
            with self.line.place() as place:
                texts = [valid_unicode(prompt) for prompt in prompts]
                while not place.wait(0.5):
                    yield News(list(texts), ahead=place.ahead())
                yield from self._news(texts, samplings)
        except Busy:
            raise Refused("busy") from None

    def _news(self, texts: list[str], samplings: list[Sampling]) -> Iterator[News]:
        growing = GrowingTexts(self.model, self.tokenizer, texts, samplings)
        started = told = time.monotonic()
        while growing.are_growing:
            for text, piece in growing.step():
                texts[text] += piece
            now = time.monotonic()
            is_late = now - started > self.limits.seconds
            if is_late or not growing.are_growing or now - told > SECONDS_BETWEEN_NEWS:
                told = now
                yield News(
                    list(texts),
                    tokens=growing.new_tokens,
                    seconds=now - started,
                    context_used=growing.context_used,
                    is_over=is_late or not growing.are_growing,
                    is_out_of_time=is_late,
                )
            if is_late:
                return

    def next_tokens(self, prompt: str, k: int = 10) -> list[NextToken]:
        """The k likeliest tokens after a prompt. Raises Refused."""
        self.check_length(prompt, self.limits.text_characters)
        if type(k) is not int or not 0 < k <= MOST_ALTERNATIVES:
            problem = f"k {k!r:.40}: must be a whole number from 1 to {MOST_ALTERNATIVES}"
            raise Refused("out_of_range", problems=problem)
        with self._turn():
            return next_tokens(self.model, self.tokenizer, prompt, k)

    def surprisals(self, text: str) -> list[Piece]:
        """How surprising each piece of a text is. Raises Refused."""
        self.check_text(text)
        with self._turn():
            return surprisals(self.model, self.tokenizer, text)

    def measure(self, text: str) -> Measured:
        """How well the model predicts a text, and where it is cut. Raises Refused."""
        self.check_text(text)
        with self._turn():
            score = score_text(self.model, self.tokenizer, text)
            pieces = surprisals(self.model, self.tokenizer, text)
        return Measured(
            perplexity=score.perplexity,
            bits_per_character=score.bits_per_character,
            bits_per_byte=score.bits_per_byte,
            tokens=score.tokens,
            tokens_per_word=score.tokens / len(text.split()),
            pieces=pieces,
        )

    def check_length(self, text: str, limit: int) -> None:
        if not isinstance(text, str):  # a program may send anything
            raise Refused("out_of_range", problems=f"{text!r:.40}: must be text")
        if len(text) > limit:
            raise Refused("too_long", given=len(text), limit=limit)

    def check_text(self, text: str) -> None:
        self.check_length(text, self.limits.text_characters)
        if not text.strip():
            raise Refused("empty")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """A place in the line, and its turn."""
        try:
            with self.line.place() as place:
                if not place.wait(self.limits.seconds):
                    raise Busy
                yield
        except Busy:
            raise Refused("busy") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when another file takes this name; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
