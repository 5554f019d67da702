"""One model that many visitors share: limits, turns, and what each of them gets."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer

from config import SPECIAL_TOKENS, ConfigError
from interface.limits import Busy, Limits, Line
from model import GPT
from utils import (
    GrowingTexts,
    NextToken,
    Piece,
    Sampling,
    Score,
    find_path,
    load_model,
    load_tokenizer,
    next_tokens,
    split_sentences,
    surprisals,
    valid_unicode,
)

MOST_ALTERNATIVES = 100
SECONDS_BETWEEN_WAITING = 0.5
SECONDS_BETWEEN_NEWS = 0.04  # each message to the page costs it some 4 ms


T = TypeVar("T")


class Refused(Exception):
    """A request that is not served; `key` and `values` say why in any language (texts.py)."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values = values


@dataclass(frozen=True)
class Waiting:
    """It is not this visitor's turn yet."""

    ahead: int  # visitors


@dataclass(frozen=True)
class News:
    """How far some texts have come."""

    texts: list[str]  # prompts and what follows them
    tokens: int  # new ones, of all texts together
    seconds: float  # of writing
    context_used: int  # tokens that the model sees of the longest text
    is_over: bool
    is_out_of_time: bool


@dataclass(frozen=True)
class Measured:
    """How well the model predicts a text, and the pieces that it is cut into."""

    perplexity: float
    bits_per_character: float
    bits_per_byte: float
    tokens: int  # the end of each sentence is one
    tokens_per_word: float  # the ends of sentences not counted
    pieces: list[Piece]


@dataclass(frozen=True)
class Opened:
    """What was read from the files, and which file it was."""

    model: GPT
    tokenizer: Tokenizer
    stamp: tuple[int, int, int] | None


@dataclass
class Service:
    """The model in a file, and the line before it.

    What asks the model is a generator: Waiting for as long as others come first, then the answer.
    Whoever takes no more of it leaves the line, and the work ends. All raise Refused.
    """

    model_path: Path
    tokenizer_dir: Path
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.model_path = find_path(self.model_path)
        self.started = time.time()
        self.line = Line(self.limits.at_once, self.limits.waiting)
        self._loading = threading.Lock()
        self.load()

    def load(self) -> None:
        """Open the model file as it is now. Raises what `load_model` raises, and keeps the old."""
        with self._loading:
            self._load()

    def _load(self) -> None:
        stamp = _stamp(self.model_path)
        model, _ = load_model(self.model_path, tokenizer_dir=self.tokenizer_dir)
        tokenizer, _ = load_tokenizer(self.tokenizer_dir)
        self.opened = Opened(model, tokenizer, stamp)

    @property
    def model(self) -> GPT:
        return self.opened.model

    @property
    def is_replaced(self) -> bool:
        """Whether the file is no longer the one that was opened; the open model works on."""
        return _stamp(self.model_path) not in (None, self.opened.stamp)

    def write(
        self,
        prompts: Sequence[str],
        settings: Sequence[dict[str, Any]],
        chosen: Sequence[int] = (),
    ) -> Iterator[Waiting | News]:
        """Continue prompts, each with settings of its own; `chosen` tokens follow each of them."""
        for prompt in prompts:
            self.check_length(prompt, self.limits.prompt_characters)
        try:
            samplings = [Sampling(**each) for each in settings]
        except ConfigError as error:
            raise out_of_range(*error.problems) from None
        most = max(sampling.max_new_tokens for sampling in samplings)
        if most > self.limits.new_tokens:
            raise Refused("too_many_tokens", given=most, limit=self.limits.new_tokens)
        # A blank at the end would be a word of its own: the model writes the one that is due.
        if any(not len(SPECIAL_TOKENS) <= id < self.model.config.vocab_size for id in chosen):
            raise out_of_range(f"{chosen}: must be tokens of text")
        texts = [valid_unicode(prompt).rstrip(" \t\r") for prompt in prompts]
        yield from self._in_turn(lambda opened: self._news(opened, texts, samplings, chosen))

    def _news(
        self, opened: Opened, texts: list[str], samplings: list[Sampling], chosen: Sequence[int]
    ) -> Iterator[News]:
        growing = GrowingTexts(opened.model, opened.tokenizer, texts, samplings, chosen)
        for number, piece in enumerate(growing.begun):
            texts[number] += piece
        started = told = time.monotonic()
        is_late = is_over = False
        while not is_over:
            for text, piece in growing.step() if growing.are_growing else ():
                texts[text] += piece
            now = time.monotonic()
            is_late = now - started > self.limits.seconds
            is_over = is_late or not growing.are_growing
            if is_over or now - told > SECONDS_BETWEEN_NEWS:
                told = now
                yield News(
                    list(texts),
                    tokens=growing.new_tokens,
                    seconds=now - started,
                    context_used=growing.context_used,
                    is_over=is_over,
                    is_out_of_time=is_late,
                )

    def next_tokens(self, prompt: str, k: int = 10) -> Iterator[Waiting | list[NextToken]]:
        """The k likeliest tokens after a prompt."""
        self.check_length(prompt, self.limits.text_characters)
        if type(k) is not int or not 0 < k <= MOST_ALTERNATIVES:
            raise out_of_range(f"k {k!r:.40}: must be a whole number from 1 to {MOST_ALTERNATIVES}")
        yield from self._in_turn(
            lambda opened: iter([next_tokens(opened.model, opened.tokenizer, prompt, k)])
        )

    def surprisals(self, text: str) -> Iterator[Waiting | list[Piece]]:
        """How surprising each piece of a text is."""
        self.check_text(text)
        yield from self._in_turn(
            lambda opened: iter([surprisals(opened.model, opened.tokenizer, text)])
        )

    def measure(self, text: str) -> Iterator[Waiting | Measured]:
        """How well the model predicts a text, and where it is cut."""
        self.check_text(text)
        yield from self._in_turn(lambda opened: iter([_measure(opened, text)]))

    def _in_turn(self, work: Callable[[Opened], Iterator[T]]) -> Iterator[Waiting | T]:
        try:
            with self.line.place() as place:
                while not place.wait(SECONDS_BETWEEN_WAITING):
                    yield Waiting(place.ahead())
                yield from work(self.opened)
        except Busy:
            raise Refused("busy") from None

    def check_length(self, text: str, limit: int) -> None:
        if not isinstance(text, str):  # a program may send anything
            raise out_of_range(f"{text!r:.40}: must be text")
        if len(text) > limit:
            raise Refused("too_long", given=len(text), limit=limit)

    def check_text(self, text: str) -> None:
        self.check_length(text, self.limits.text_characters)
        if not text.strip():
            raise Refused("empty")


def out_of_range(*problems: str) -> Refused:
    """The refusal of settings, with the names that a program gives them."""
    named = [
        re.sub(r"--[a-z-]+", lambda flag: flag[0][2:].replace("-", "_"), problem)[:200]
        for problem in problems
    ]
    return Refused("out_of_range", problems="; ".join(named))


def _measure(opened: Opened, text: str) -> Measured:
    pieces = surprisals(opened.model, opened.tokenizer, text)
    lines = [line + "\n" for line in split_sentences(text)]
    score = Score(
        nats=math.log(2) * sum(piece.bits for piece in pieces),
        tokens=sum(piece.tokens for piece in pieces),
        characters=sum(map(len, lines)),
        bytes=sum(len(valid_unicode(line).encode()) for line in lines),
    )
    return Measured(
        perplexity=score.perplexity,
        bits_per_character=score.bits_per_character,
        bits_per_byte=score.bits_per_byte,
        tokens=score.tokens,
        tokens_per_word=(score.tokens - len(lines)) / len(text.split()),
        pieces=pieces,
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when another file takes this name; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
