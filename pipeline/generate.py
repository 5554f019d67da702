"""Sampling: from logits to the next token, from a prompt to a text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from config import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Checked, setting
from model import GPT


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
    stop_at_eos: bool = setting(True, "end with the sentence; False goes on with a new one")


@torch.no_grad()
def generate_ids(model: GPT, prompt_ids: list[int], sampling: Sampling) -> Iterator[int]:
    """The new tokens after <bos> and a prompt, one by one.

    Past the model's context the oldest tokens fall out of the window. Where a sentence ends and
    `stop_at_eos` is off, <eos> and the <bos> of the next sentence are yielded too.
    """
    device = model.embedding.weight.device
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    ids = [BOS_ID, *prompt_ids]
    for _ in range(sampling.max_new_tokens):
        window = torch.tensor([ids[-model.config.block_size :]], device=device)  # (1, T)
        x = model.hidden(window)[:, -1]  # (1, C)
        logits = model.head(x)[0].float().cpu()  # (V,)
        token = choose_token(logits, ids, sampling, generator)
        new = [token]
        if token == EOS_ID:
            if sampling.stop_at_eos:
                return
            new.append(BOS_ID)
        ids += new
        yield from new


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
    logits[[PAD_ID, UNK_ID, BOS_ID]] = -math.inf  # never text
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


def generate(model: GPT, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> str:
    """The prompt and its continuation as text. The model should be in eval mode."""
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    new_ids = list(generate_ids(model, prompt_ids, sampling))
    text = tokenizer.decode(prompt_ids + new_ids)
    # The last token may be the first bytes of a letter only.
    while new_ids and text.endswith("\ufffd"):
        new_ids.pop()
        text = tokenizer.decode(prompt_ids + new_ids)
    return text
