"""Sampling: from logits to the next token, for several texts at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from config import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Checked, setting
from model import GPT, KVCache

NEVER_TEXT = [PAD_ID, UNK_ID, BOS_ID]


@dataclass(frozen=True)
class Sampling(Checked):
    """How the next token is chosen."""

    max_new_tokens: int = setting(100, "most tokens to add", low=0)
    temperature: float = setting(
        0.8, "0 takes the likeliest token; higher is bolder", low=0, high=100
    )
    top_k: int | None = setting(None, "choose among the k likeliest tokens", low=1)
    top_p: float | None = setting(
        None, "choose among the likeliest tokens that together have this probability (Holtzman "
        "et al. 2020, arXiv:1904.09751)", above=0, high=1,
    )  # fmt: skip
    min_p: float | None = setting(
        None, "choose among tokens at least so likely as this share of the likeliest (Nguyen et "
        "al. 2024, arXiv:2407.01082)", low=0, high=1,
    )  # fmt: skip
    repetition_penalty: float = setting(
        1.0, "above 1 makes tokens that already occurred less likely (Keskar et al. 2019, "
        "arXiv:1909.05858)", low=0.01, high=100,
    )  # fmt: skip
    seed: int | None = setting(None, "the same seed gives the same text", low=0, high=2**63 - 1)
    num_return_sequences: int = setting(1, "texts for a prompt; each has a seed of its own", low=1)
    stop_at_eos: bool = setting(True, "end with the sentence; False goes on with a new one")
    stop: tuple[str, ...] = setting((), "strings before which a text ends")

    def conflicts(self) -> list[str]:
        wrong = [text for text in self.stop if not isinstance(text, str) or not text]
        return [f"--stop {text!r}: must be text, and not empty" for text in wrong]

    def generator(self, number: int = 0) -> torch.Generator:
        """The random numbers of text `number` for a prompt."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed((self.seed + number) % 2**63)
        return generator


class Generation:
    """Texts that grow together, a token at a time.

    Each token is computed once, until a text has filled the context: then the last half of it is
    read anew and there is room for as many tokens again.
    """

    def __init__(
        self,
        model: GPT,
        prompts: Sequence[list[int]],
        samplings: Sequence[Sampling],
        generators: Sequence[torch.Generator] | None = None,
    ) -> None:
        self.model = model
        self.device = model.embedding.weight.device
        self.samplings = list(samplings)
        self.generators = list(generators or (s.generator() for s in samplings))
        self.ids = [[BOS_ID, *prompt] for prompt in prompts]
        self.left = [sampling.max_new_tokens for sampling in samplings]
        self.starts = [-1] * len(self.ids)  # the token at which a text's window begins
        # A row of the cache for each text that grows.
        self.growing = list(range(len(self.ids)))
        self.cache = KVCache(model, len(self.ids))
        for text, left in enumerate(self.left):
            if not left:
                self.stop(text)

    @property
    def new_tokens(self) -> int:
        """How many tokens were written, of all texts together."""
        return sum(s.max_new_tokens for s in self.samplings) - sum(self.left)

    @property
    def windows(self) -> list[int]:
        """How many tokens of each text the model sees when it writes the next one."""
        block_size = self.model.config.block_size
        return [len(ids) - window_start(len(ids), block_size) for ids in self.ids]

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int]]:
        """The next token of every text that grows, as (number of the text, token).

        Where a sentence ends and `stop_at_eos` is off, <eos> and then the <bos> of the next
        sentence are among them; <bos> is not counted as a new token.
        """
        new = []
        for text, logits in zip(list(self.growing), self.next_logits(), strict=True):
            ids, sampling = self.ids[text], self.samplings[text]
            if ids[-1] == EOS_ID:
                token = BOS_ID
            else:
                token = choose_token(logits, ids, sampling, self.generators[text])
                self.left[text] -= 1
            if token == EOS_ID and sampling.stop_at_eos:
                self.stop(text)
                continue
            ids.append(token)
            new.append((text, token))
            if not self.left[text]:
                self.stop(text)
        return new

    def stop(self, text: int) -> None:
        """Let this text grow no further."""
        if text in self.growing:
            kept = [row for row, other in enumerate(self.growing) if other != text]
            self.growing = [self.growing[row] for row in kept]
            self.cache.keep(kept)

    @torch.inference_mode()
    def next_logits(self) -> Tensor:
        """(texts, V) float32 logits on the CPU of the token after each text that grows."""
        block_size = self.model.config.block_size
        moved = []
        for row, text in enumerate(self.growing):
            start = window_start(len(self.ids[text]), block_size)
            if start != self.starts[text]:
                self.starts[text] = start
                moved.append(row)
        if moved:
            texts = [self.growing[row] for row in moved]
            self._read([self.ids[text][self.starts[text] : -1] for text in texts], moved)
        last = torch.tensor(
            [self.ids[text][-1:] for text in self.growing], device=self.device
        )  # (texts, 1)
        x = self.model.hidden(last, self.cache)[:, -1]  # (texts, C)
        return self.model.head(x).float().cpu()

    def _read(self, windows: list[list[int]], rows: list[int]) -> None:
        """Fill rows of the cache with the keys and values of these tokens."""
        cache = KVCache(self.model, len(rows))
        length = max(map(len, windows))
        if length:
            padded = [ids + [PAD_ID] * (length - len(ids)) for ids in windows]
            self.model.hidden(torch.tensor(padded, device=self.device), cache)
        cache.lengths = [len(ids) for ids in windows]  # what stands behind is padding
        self.cache.replace(rows, cache)


def window_start(length: int, block_size: int) -> int:
    """Which token of a text is the first that the model sees when it writes the one after it.

    0 while the text fits the context; then the window moves on by half a context at a time.
    """
    half = block_size // 2
    return max(0, -(-(length - block_size) // half) * half)


def choose_token(
    logits: Tensor, ids: list[int], sampling: Sampling, generator: torch.Generator
) -> int:
    """One token id from (V,) float32 logits on the CPU; `ids` are the tokens so far."""
    logits = logits.clone()
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted(set(ids)))
        values = logits[seen]
        penalty = sampling.repetition_penalty
        logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
    logits[NEVER_TEXT] = -math.inf
    if sampling.temperature < 1e-6:
        return int(logits.argmax())
    logits = (logits - logits.max()) / sampling.temperature  # at most 0: no overflow
    if sampling.top_k is not None and sampling.top_k < logits.numel():
        kth = logits.topk(sampling.top_k).values[-1]
        logits[logits < kth] = -math.inf
    if sampling.top_p is not None:
        ordered, index = logits.sort(descending=True)
        probabilities = ordered.softmax(dim=-1)
        # A token stays if those before it do not yet reach top_p: the first always stays.
        beyond = probabilities.cumsum(dim=-1) - probabilities >= sampling.top_p
        beyond[0] = False
        logits[index[beyond]] = -math.inf
    if sampling.min_p:
        logits[logits < logits.max() + math.log(sampling.min_p)] = -math.inf
    return int(torch.multinomial(logits.softmax(dim=-1), 1, generator=generator))
