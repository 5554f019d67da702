"""Text that comes in pieces, and several texts at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from config import BOS_ID, EOS_ID, ConfigError, ModelConfig
from model import GPT
from pipeline.generate import Generation, Sampling, window_start
from pipeline.streaming import GrowingTexts, TextStream, prompt_ids
from utils import generate_text, generate_texts, next_tokens, stream_text

PROMPTS = ["", "Казан", "Казан шәһәре матур һәм зур башкала анда", "👩‍👩‍👧"]


# -------------------------------------------------------------------------------- the window


def test_the_window_moves_on_by_half_a_context_when_it_is_full() -> None:
    assert [window_start(n, 256) for n in (1, 255, 256)] == [0, 0, 0]
    assert [window_start(n, 256) for n in (257, 384)] == [128, 128]  # 128 and one more; 256
    assert [window_start(n, 256) for n in (385, 512, 513)] == [256, 256, 384]
    for size, length in itertools.product((2, 3, 7, 16), range(1, 60)):
        seen = length - window_start(length, size)
        assert 0 < seen <= size
        assert seen == length or seen > size - size // 2 - 1


def test_each_token_is_that_of_the_whole_forward_pass_over_its_window() -> None:
    """Prompts of different lengths, far past the context, rows that are read anew apart."""
    torch.manual_seed(0)
    model = GPT(ModelConfig(2, 2, 32, 256, 60)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(4, 60, (n,), generator=generator).tolist() for n in (0, 90, 250, 700)]
    sampling = Sampling(max_new_tokens=300, temperature=1.0, stop_at_eos=False, seed=5)
    generation = Generation(model, prompts, [sampling] * 4)
    steps = 0
    while generation.growing:
        growing, before = list(generation.growing), [list(ids) for ids in generation.ids]
        logits = generation.next_logits()
        for row, text in enumerate(growing):
            ids = before[text]
            start = window_start(len(ids), 256)
            with torch.no_grad():
                whole = model(torch.tensor([ids[start:]]))[0, -1]
            torch.testing.assert_close(logits[row], whole, rtol=0, atol=1e-5)
        # As next_logits has read the last tokens already, start a step from there.
        generation.cache.lengths = [length - 1 for length in generation.cache.lengths]
        generation.step()
        steps += 1
    assert steps >= 300
    for prompt, ids in zip(prompts, generation.ids, strict=True):
        assert ids[: len(prompt) + 1] == [BOS_ID, *prompt]
        assert sum(token != BOS_ID for token in ids) == len(prompt) + 300


# -------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("stop_at_eos", [True, False])
def test_the_pieces_are_the_text(prompt: str, stop_at_eos: bool, trio: Any, untrained: Any) -> None:
    settings: dict[str, Any] = {
        "prompt": prompt, "max_new_tokens": 60, "temperature": 1.0, "seed": 3,
        "stop_at_eos": stop_at_eos,
    }  # fmt: skip
    for three in (trio, untrained):
        pieces = list(stream_text(*three, **settings))
        assert prompt + "".join(pieces) == generate_text(*three, **settings)
        assert all(pieces)
        assert not any(piece.endswith("\ufffd") for piece in pieces[-1:])


def test_the_pieces_come_one_by_one(trio: Any) -> None:
    pieces = list(stream_text(*trio, prompt="Казан", max_new_tokens=40, temperature=0))
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 15


def test_no_piece_ends_within_a_letter(trio: Any) -> None:
    text = "Әби 👩‍👧 эш"
    ids = trio.tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) > 8
    stream = TextStream(trio.tokenizer, [], ())
    pieces = [stream.add(token) for token in ids]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert "" in pieces  # bytes that were held back


def test_half_a_letter_at_the_end_is_left_out(trio: Any) -> None:
    ids = trio.tokenizer.encode("аб👩", add_special_tokens=False).ids
    stream = TextStream(trio.tokenizer, [], ())
    assert "".join(stream.add(token) for token in ids[:-1]) + stream.rest() == "аб"


def test_bytes_that_are_no_text_come_out_as_soon_as_text_follows(trio: Any) -> None:
    half = trio.tokenizer.encode("👩", add_special_tokens=False).ids[:-1]
    letter = trio.tokenizer.encode("а", add_special_tokens=False).ids
    stream = TextStream(trio.tokenizer, [], ())
    pieces = [stream.add(token) for token in half + letter]
    assert "".join(pieces).startswith("\ufffd")
    assert "".join(pieces).endswith("а")
    assert all(piece == "" for piece in pieces[: len(half)])


def test_a_replacement_character_of_the_prompt_is_not_held_back(trio: Any) -> None:
    ids = trio.tokenizer.encode("а\ufffd", add_special_tokens=False).ids
    stream = TextStream(trio.tokenizer, ids, ())
    assert stream.rest() == ""
    letter = trio.tokenizer.encode("б", add_special_tokens=False).ids[-1]
    assert stream.add(letter).endswith("б")


# -------------------------------------------------------------------------------- the end


def test_a_text_ends_before_a_stop_string(trio: Any) -> None:
    whole = generate_text(*trio, prompt="Казан", max_new_tokens=60, temperature=0)
    settings: dict[str, Any] = {"prompt": "Казан", "max_new_tokens": 60, "temperature": 0}
    for stop in ("матур", "тур һ", "р"):
        text = generate_text(*trio, **settings, stop=[stop])
        assert text == whole[: whole.index(stop, len("Казан"))]
        pieces = stream_text(*trio, **settings, stop=[stop])
        assert "Казан" + "".join(pieces) == text
    # The first of several; what the prompt holds does not count; one that never comes neither.
    assert generate_text(*trio, **settings, stop=("башкала", "матур")) == whole.split("матур")[0]
    assert generate_text(*trio, **settings, stop="Казан") == whole
    assert generate_text(*trio, **settings, stop=[whole[-5:] + "я"]) == whole


def test_a_stop_string_saves_the_rest_of_the_work(trio: Any) -> None:
    count = 0
    forward = trio.model.head

    def counting(x: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return forward(x)

    trio.model.head = counting
    try:
        generate_text(*trio, prompt="Казан", max_new_tokens=200, stop_at_eos=False, stop=["."])
        assert count < 60
        count = 0
        pieces = stream_text(*trio, prompt="Казан", max_new_tokens=200, stop_at_eos=False)
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        assert count < 5
    finally:
        del trio.model.head


# -------------------------------------------------------------------------------- several


def test_several_prompts_are_continued_as_each_alone(trio: Any, untrained: Any) -> None:
    for three in (trio, untrained):
        for settings in ({"temperature": 0}, {"temperature": 0.8, "seed": 7}):
            more: dict[str, Any] = settings | {"max_new_tokens": 50}
            alone = [generate_text(*three, prompt=prompt, **more) for prompt in PROMPTS]
            assert generate_texts(*three, PROMPTS, **more) == alone


def test_several_texts_of_a_prompt_have_seeds_of_their_own(untrained: Any) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 30, "temperature": 1.0, "min_p": None}
    texts = generate_texts(
        *untrained, ["Казан", "Идел"], num_return_sequences=3, seed=11, **settings
    )
    assert len(set(texts)) == 6
    assert [text[:4] for text in texts] == ["Каза"] * 3 + ["Идел"] * 3
    for number, text in enumerate(texts[:3]):
        assert text == generate_text(*untrained, prompt="Казан", seed=11 + number, **settings)
    assert generate_texts(*untrained, []) == []


def test_all_that_is_wrong_is_told_before_the_first_piece(trio: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        stream_text(*trio, temperature=-1, top_k=0, stop=["", "а"], num_return_sequences=0)
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="num-return-sequences 0"):
        generate_texts(*trio, ["Казан"], num_return_sequences=0)
    with pytest.raises(TypeError, match="tempreature"):
        stream_text(*trio, tempreature=1)


def test_a_line_of_the_prompt_is_a_sentence(trio: Any) -> None:
    model, tokenizer, _ = trio
    settings = {"temperature": 0.0, "max_new_tokens": 8}
    alone = generate_text(*trio, prompt="", **settings)
    for before in ("Казан шәһәре матур.\n", "\n", "Казан.\n\n \n"):
        written = generate_text(*trio, prompt=before, **settings)
        assert written.startswith(before)
        assert not written.removeprefix(before).startswith(" ")
    ids = prompt_ids(tokenizer, "Казан.\n\nИдел\n")
    first, second = (tokenizer.encode(t, add_special_tokens=False).ids for t in ("Казан.", "Идел"))
    assert ids == [*first, EOS_ID, BOS_ID, *second, EOS_ID, BOS_ID]
    assert prompt_ids(tokenizer, "\nКазан.") == first
    assert generate_text(*trio, prompt="\n", **settings) == "\n" + alone
    first = generate_text(*trio, prompt="Казан.\n", **settings).split("\n")[1].split()[0]
    assert generate_text(*trio, prompt="Казан.\n", stop=[first], **settings) == "Казан.\n"
    assert first in generate_text(*trio, prompt="Казан.\n", stop=[f" {first}"], **settings)
    assert next_tokens(model, tokenizer, "\n", 3) == next_tokens(model, tokenizer, "", 3)


def test_chosen_tokens_follow_the_prompt(trio: Any) -> None:
    model, tokenizer, _ = trio
    likeliest, other = next_tokens(model, tokenizer, "Казан", 2)
    sampling = [Sampling(temperature=0.0, max_new_tokens=20)]
    texts = []
    for token in (likeliest, other):
        growing = GrowingTexts(model, tokenizer, ["Казан"], sampling, [token.id])
        text = "Казан" + growing.begun[0]
        while growing.are_growing:
            text += "".join(piece for _, piece in growing.step())
        texts.append(text)
        ids = tokenizer.encode("Казан", add_special_tokens=False).ids
        assert text.startswith(tokenizer.decode([*ids, token.id]).rstrip("\ufffd"))
    assert texts[0] == generate_text(*trio, prompt="Казан", temperature=0.0, max_new_tokens=21)
    assert texts[1] != texts[0]
