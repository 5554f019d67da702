"""What the model expects: the likeliest next tokens, and how surprised it is by a text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from config import BOS_ID, EOS_ID, SPECIAL_TOKENS
from model import GPT
from pipeline.batches import evaluation_rows, sentence_ids
from pipeline.device import Compute
from pipeline.evaluate import token_nats
from pipeline.generate import NEVER_TEXT, Generation, Sampling
from pipeline.streaming import prompt_ids


@dataclass(frozen=True)
class NextToken:
    """A token that may come next; `text` is "" for <eos>, the end of the sentence."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True)
class Piece:
    """A token of a text, or several that share a letter: text[start:end].

    bits: how surprising it was after what stands before it. The end of a sentence is a piece with
    no characters.
    """

    start: int
    end: int
    text: str
    bits: float
    tokens: int = 1


@torch.inference_mode()
def next_tokens(model: GPT, tokenizer: Tokenizer, prompt: str, k: int = 10) -> list[NextToken]:
    """The k likeliest tokens after a prompt, the likeliest first; fewer if there are no more."""
    ids = prompt_ids(tokenizer, prompt)
    logits = Generation(model, [ids], [Sampling()]).next_logits()[0]
    logits[NEVER_TEXT] = -math.inf
    top = logits.softmax(dim=-1).topk(min(k, logits.numel() - len(NEVER_TEXT)))
    return [
        NextToken(id, token_text(tokenizer, id), probability)
        for id, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def split_sentences(text: str) -> list[str]:
    """The lines of a text that are not blank: a sentence each, as in the corpus."""
    return [line for line in text.split("\n") if line.strip()]


def surprisals(model: GPT, tokenizer: Tokenizer, text: str) -> list[Piece]:
    """The pieces of a text, a sentence a line, in their order."""
    sentences = split_sentences(text)
    rows = evaluation_rows(sentence_ids(tokenizer, sentences), model.config.block_size)
    compute = Compute(model.embedding.weight.device, torch.float32, "scoring")
    # Of every token but the first; a <bos> costs nothing.
    nats = iter(torch.cat(list(token_nats(model, *rows, compute))).flatten().tolist())
    pieces: list[Piece] = []
    begin = 0
    for sentence, encoding in zip(
        sentences, tokenizer.encode_batch(sentences, add_special_tokens=False), strict=True
    ):
        if pieces:
            next(nats)  # its <bos>
        begin = text.index(sentence, begin)
        for start, end in encoding.offsets:
            bits, tokens = next(nats) / math.log(2), 1
            start, end = begin + start, begin + end
            if pieces and start < pieces[-1].end:  # bytes of one letter
                start, end = pieces[-1].start, max(end, pieces[-1].end)
                before = pieces.pop()
                bits, tokens = bits + before.bits, tokens + before.tokens
            pieces.append(Piece(start, end, text[start:end], bits, tokens))
        begin += len(sentence)
        pieces.append(Piece(begin, begin, "", next(nats) / math.log(2)))
    return pieces


@torch.inference_mode()
def attention_maps(model: GPT, tokenizer: Tokenizer, text: str) -> tuple[list[str], Tensor]:
    """Where every token of a text looks.

    The tokens' texts, <bos> first, and the weights (n_layer, n_head, T, T): row t says how the
    attention of token t is shared out among tokens 0 to t. A text longer than the context is cut.
    """
    ids = [BOS_ID, *tokenizer.encode(text, add_special_tokens=False).ids]
    ids = ids[: model.config.block_size]
    T = len(ids)
    maps = []

    def look(attention: Any, inputs: tuple[Tensor, ...]) -> None:
        qkv = attention.qkv(inputs[0]).view(T, 3, attention.n_head, -1)
        q, k, _ = qkv.permute(1, 2, 0, 3)  # (H, T, D) each
        scores = attention.rope(q) @ attention.rope(k).mT / math.sqrt(q.size(-1))
        is_future = torch.ones(T, T, dtype=torch.bool, device=scores.device).triu(1)
        maps.append(scores.masked_fill(is_future, -math.inf).softmax(dim=-1).float().cpu())

    blocks: Any = model.blocks
    hooks = [block.attention.register_forward_pre_hook(look) for block in blocks]
    try:
        model.hidden(torch.tensor([ids], device=model.embedding.weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return [token_text(tokenizer, id) for id in ids], torch.stack(maps)


def token_text(tokenizer: Tokenizer, id: int) -> str:
    """The text of one token; bytes that are no whole letter as \\x and two digits."""
    if id < len(SPECIAL_TOKENS):
        return "" if id == EOS_ID else SPECIAL_TOKENS[id]
    token = tokenizer.id_to_token(id)
    assert token is not None
    return bytes(_BYTES[letter] for letter in token).decode("utf-8", errors="backslashreplace")


def _byte_letters() -> dict[str, int]:
    """GPT-2's letters for bytes: what can be printed stands for itself, the rest from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printed]
    letters = {chr(byte): byte for byte in printed}
    return letters | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()
