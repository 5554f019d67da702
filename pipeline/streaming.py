"""From new tokens to pieces of text that will not change any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

from config import BOS_ID, EOS_ID
from model import GPT
from pipeline.generate import Generation, Sampling
from pipeline.tokenizer import valid_unicode


class TextStream:
    """The text after a prompt, as its tokens come.

    Held back until it is sure: the first bytes of a letter, and what may be the beginning of a
    `stop` string.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], stop: tuple[str, ...]) -> None:
        self.tokenizer = tokenizer
        self.ids = list(prompt_ids)
        self.stop = stop
        self.is_stopped = False
        self._shown = len(tokenizer.decode(prompt_ids))
        self._prompt_length = self._shown
        self._begins_a_line = prompt_ids[-1:] == [BOS_ID]

    def add(self, token: int) -> str:
        """The piece of text that this token makes sure, often empty."""
        self.ids.append(token)
        return self._piece(self._whole_letters(), is_last=False)

    def rest(self) -> str:
        """What was held back and is text."""
        return self._piece(self._whole_letters(), is_last=True)

    def _whole_letters(self) -> str:
        text = self.tokenizer.decode(self.ids)
        end = len(text)
        while end > self._shown and text[end - 1] == "\ufffd":
            end -= 1
        return text[:end]

    def _piece(self, text: str, *, is_last: bool) -> str:
        if self.is_stopped:
            return ""
        if self._begins_a_line and len(text) > self._shown:
            if text[self._shown] == " ":  # which is between words, not before them
                self._shown += 1
                self._prompt_length += 1
            self._begins_a_line = False
        begin = self._shown
        found = [text.find(stop, self._prompt_length) for stop in self.stop]
        ends = [position for position in found if position >= 0]
        if ends:
            self.is_stopped = True
            end = min(ends)
        elif is_last:
            end = len(text)
        else:
            end = len(text) - max((_overlap(text[begin:], stop) for stop in self.stop), default=0)
        self._shown = max(begin, end)
        return text[begin : self._shown]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may be the beginning of `stop`."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(stop[:n])), 0)


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The tokens of a prompt. A line of it is a sentence, as in the corpus."""
    ids: list[int] = []
    for line in prompt.split("\n"):
        if ids and ids[-1] != BOS_ID:
            ids += [EOS_ID, BOS_ID]
        if line.strip():
            ids += tokenizer.encode(line, add_special_tokens=False).ids
    return ids


class GrowingTexts:
    """Texts that the model writes at the same time, `num_return_sequences` in a row for a prompt.

    The model should be in eval mode.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        prompts: Sequence[str],
        samplings: Sequence[Sampling],
        chosen: Sequence[int] = (),
    ) -> None:
        """`chosen`: tokens that follow every prompt, whatever the model thinks of them."""
        encoded = [prompt_ids(tokenizer, prompt) for prompt in prompts]
        rows = [
            (ids, sampling, sampling.generator(number))
            for ids, sampling in zip(encoded, samplings, strict=True)
            for number in range(sampling.num_return_sequences)
        ]
        self.streams = [TextStream(tokenizer, ids, sampling.stop) for ids, sampling, _ in rows]
        self.begun = ["".join(map(stream.add, chosen)) for stream in self.streams]
        self.generation = Generation(
            model,
            [[*ids, *chosen] for ids, _, _ in rows],
            [s for _, s, _ in rows],
            [g for _, _, g in rows],
        )

    @property
    def are_growing(self) -> bool:
        return bool(self.generation.growing)

    @property
    def new_tokens(self) -> int:
        """How many tokens were written, of all texts together."""
        return self.generation.new_tokens

    @property
    def context_used(self) -> int:
        """How many tokens of the longest text the model sees."""
        return max(self.generation.windows, default=0)

    def step(self) -> list[tuple[int, str]]:
        """One token more of each text: what became sure by it, as (number of the text, piece)."""
        growing = list(self.generation.growing)
        pieces = []
        for text, token in self.generation.step():
            pieces.append((text, self.streams[text].add(token)))
            if self.streams[text].is_stopped:
                self.generation.stop(text)
        for text in growing:
            if text not in self.generation.growing:
                pieces.append((text, self.streams[text].rest()))
        return [(text, piece) for text, piece in pieces if piece]


def stream_texts(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[str], samplings: Sequence[Sampling]
) -> Iterator[tuple[int, str]]:
    """Pieces of text as they come, as (number of the text, piece)."""
    texts = GrowingTexts(model, tokenizer, prompts, samplings)
    while texts.are_growing:
        yield from texts.step()


def generate(model: GPT, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> str:
    """The prompt and its continuation as text."""
    pieces = stream_texts(model, tokenizer, [prompt], [sampling])
    return valid_unicode(prompt) + "".join(piece for _, piece in pieces)
