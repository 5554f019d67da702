"""The likeliest next tokens, and the surprise of each piece of a text."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from config import BOS_ID, EOS_ID, ConfigError
from pipeline.errors import CorpusError
from pipeline.predictions import token_text
from utils import attention_maps, generate_text, next_tokens, score_text, surprisals


def test_the_likeliest_tokens_by_hand(trio: Any) -> None:
    model, tokenizer, _ = trio
    prompt = "Казан шәһәре"
    ids = [BOS_ID, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0, -1]
    logits[:3] = -torch.inf
    expected = logits.softmax(0).sort(descending=True)
    found = next_tokens(model, tokenizer, prompt, k=5)
    assert [token.id for token in found] == expected.indices[:5].tolist()
    probabilities = [token.probability for token in found]
    assert probabilities == pytest.approx(expected.values[:5].tolist(), abs=1e-5)
    greedy = generate_text(*trio, prompt=prompt, max_new_tokens=1, temperature=0)
    assert greedy == prompt + found[0].text


def test_every_token_is_asked_for_at_most(trio: Any) -> None:
    model, tokenizer, facts = trio
    found = next_tokens(model, tokenizer, "", k=10**6)
    assert len(found) == facts["vocab_size"] - 3  # <pad>, <unk> and <bos> are never text
    assert sum(token.probability for token in found) == pytest.approx(1, abs=1e-4)
    (end,) = [token for token in found if token.id == EOS_ID]
    assert end.text == ""
    with pytest.raises(ConfigError, match="k 0"):
        next_tokens(model, tokenizer, "", k=0)


def test_the_text_of_a_token(trio: Any) -> None:
    tokenizer = trio.tokenizer
    for text in (" шәһәре", " я", "э", " <bos>", "\n"):
        ids = tokenizer.encode(text[1:] if text[0] == " " else text, add_special_tokens=False).ids
        pieces = [token_text(tokenizer, id) for id in ids]
        if not any("\\x" in piece for piece in pieces):
            assert "".join(pieces).lstrip(" ") == text.lstrip(" ")
    first, *rest = tokenizer.encode("👩", add_special_tokens=False).ids[-4:]
    assert [token_text(tokenizer, id) for id in (first, *rest)] == [
        "\\xf0", "\\x9f", "\\x91", "\\xa9",
    ]  # fmt: skip
    # Every byte has a token, and no two tokens the same text.
    texts = [token_text(tokenizer, id) for id in range(3, tokenizer.get_vocab_size())]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "Казан шәһәре матур.",
        "Эшче 👩‍👧 2024, э",
        "  буш урын",
        "беренче\nикенче\n\nөченче\n",
        "\n \nюл",
        "Казан " * 60,
        "а\ud800б",
        "<bos>",
    ],
)
def test_the_pieces_are_the_text_and_their_bits_its_score(text: str, trio: Any) -> None:
    model, tokenizer, _ = trio
    pieces = surprisals(model, tokenizer, text)
    text = text.replace("\ud800", "\ufffd")
    end = 0
    for piece in pieces:
        assert piece.text == text[piece.start : piece.end]
        assert text[end : piece.start].strip() == ""  # only line ends lie between
        assert piece.bits >= 0
        end = piece.end
    assert text[end:].strip() == ""
    ends = [piece for piece in pieces if not piece.text]
    assert len(ends) == sum(bool(line.strip()) for line in text.split("\n"))
    score = score_text(model, tokenizer, text)
    bits = sum(piece.bits for piece in pieces)
    assert bits == pytest.approx(score.nats / math.log(2), rel=1e-4)


def test_the_bytes_of_a_letter_are_one_piece(trio: Any) -> None:
    pieces = surprisals(trio.model, trio.tokenizer, "а👩б")
    assert any(piece.text.endswith("👩") for piece in pieces)
    assert len(trio.tokenizer.encode("а👩б").ids) > len(pieces)


def test_a_surprise_by_hand(trio: Any) -> None:
    model, tokenizer, _ = trio
    ids = [BOS_ID, *tokenizer.encode("Казан шәһәре", add_special_tokens=False).ids, EOS_ID]
    with torch.no_grad():
        log_p = model(torch.tensor([ids]))[0].log_softmax(-1)
    by_hand = [-float(log_p[t, token]) / math.log(2) for t, token in enumerate(ids[1:])]
    bits = [piece.bits for piece in surprisals(model, tokenizer, "Казан шәһәре")]
    assert len(bits) > 5
    # A piece may be several tokens: the sums up to its end are among those of the tokens.
    sums = list(itertools.accumulate(by_hand))
    for total in itertools.accumulate(bits):
        assert min(abs(total - other) for other in sums) < 1e-4
    assert sum(bits) == pytest.approx(sums[-1], abs=1e-4)


def test_an_empty_text_is_refused(trio: Any) -> None:
    with pytest.raises(CorpusError, match="no text to score"):
        surprisals(trio.model, trio.tokenizer, " \n ")


def test_attention_maps_are_what_the_model_computes(trio: Any) -> None:
    """The values mixed by the maps and projected are what each attention layer puts out."""
    model, tokenizer, _ = trio
    text = "Казан шәһәре матур һәм зур."
    tokens, maps = attention_maps(model, tokenizer, text)
    ids = [BOS_ID, *tokenizer.encode(text, add_special_tokens=False).ids]
    assert tokens == [token_text(tokenizer, id) for id in ids]
    c, T = model.config, len(tokens)
    assert maps.shape == (c.n_layer, c.n_head, T, T)
    assert torch.allclose(maps.sum(-1), torch.ones(1))
    assert (maps.triu(1) == 0).all()
    seen = []
    hooks = [
        block.attention.register_forward_hook(lambda _, given, y: seen.append((given[0], y)))
        for block in model.blocks
    ]
    with torch.inference_mode():
        model(torch.tensor([ids]))
        for hook in hooks:
            hook.remove()
        for block, weights, (x, y) in zip(model.blocks, maps, seen, strict=True):
            v = block.attention.qkv(x).chunk(3, dim=-1)[2].view(T, c.n_head, -1)
            mixed = torch.einsum("hts,shd->thd", weights, v).flatten(1)
            assert torch.allclose(block.attention.proj(mixed), y[0], atol=1e-5)


def test_attention_maps_of_a_text_longer_than_the_context(trio: Any) -> None:
    model, tokenizer, _ = trio
    tokens, maps = attention_maps(model, tokenizer, "Казан шәһәре " * 50)
    assert len(tokens) == maps.size(-1) == model.config.block_size
    assert not any(block.attention._forward_pre_hooks for block in model.blocks)
