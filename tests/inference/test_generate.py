"""From a prompt to a text."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from config import BOS_ID, EOS_ID, ConfigError, ModelConfig
from model import GPT
from pipeline.generate import Generation, Sampling, choose_token, window_start
from utils import generate_text

ARGMAX = Sampling(max_new_tokens=60, temperature=0, stop_at_eos=False)


Trio = Any  # (model, tokenizer, facts): conftest.py


def generate_ids(model: GPT, prompt_ids: list[int], sampling: Sampling) -> list[int]:
    generation = Generation(model, [prompt_ids], [sampling])
    ids = []
    while generation.growing:
        ids += [token for _, token in generation.step()]
    return ids


def argmax_by_hand(model: GPT, prompt_ids: list[int], count: int) -> list[int]:
    """The likeliest token after each other, from the logits of the whole forward pass."""
    ids = [BOS_ID, *prompt_ids]
    with torch.no_grad():
        for _ in range(count):
            start = window_start(len(ids), model.config.block_size)
            logits = model(torch.tensor([ids[start:]]))[0, -1]
            logits[:3] = -torch.inf  # <pad>, <unk> and <bos> are never text
            ids.append(int(logits.argmax()))
            if ids[-1] == EOS_ID:
                ids.append(BOS_ID)
    ids = ids[1 + len(prompt_ids) :]
    return ids[:-1] if ids[-1] == BOS_ID else ids


# -------------------------------------------------------------------------------- the whole way


def test_what_was_learnt_is_written(trio: Trio) -> None:
    text = generate_text(*trio, prompt="Казан шәһәре", max_new_tokens=50, temperature=0)
    assert text.startswith("Казан шәһәре матур һәм зур башкала")
    assert text.endswith(".")


def test_temperature_0_takes_the_likeliest_token(trio: Trio, untrained: Trio) -> None:
    for model in (trio.model, untrained.model):
        for prompt in ("Казан", "яшел бакча", ""):
            prompt_ids = trio.tokenizer.encode(prompt).ids
            ids = generate_ids(model, prompt_ids, ARGMAX)
            assert ids == argmax_by_hand(model, prompt_ids, 60)


@pytest.mark.parametrize("choice", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-40}])
def test_the_narrowest_choice_is_the_likeliest_token(
    choice: dict[str, Any], trio: Trio, untrained: Trio
) -> None:
    sampling = Sampling(max_new_tokens=40, stop_at_eos=False, seed=3, **choice)
    for model in (trio.model, untrained.model):
        ids = generate_ids(model, [40], sampling)
        assert ids == argmax_by_hand(model, [40], 40)


def test_the_seed_fixes_the_text(untrained: Trio) -> None:
    def write(seed: int | None) -> str:
        return generate_text(*untrained, temperature=1.0, seed=seed, stop_at_eos=False)

    assert write(1) == write(1)
    assert write(1) != write(2)
    assert write(None) != write(None)


def test_sampling_leaves_the_global_random_numbers_alone(trio: Trio) -> None:
    state = torch.get_rng_state()
    generate_text(*trio, prompt="Казан", seed=4)
    generate_text(*trio, prompt="Казан")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_text_ends_with_the_sentence_or_goes_on_with_a_new_one(trio: Trio) -> None:
    settings: dict[str, Any] = {"prompt": "Казан", "max_new_tokens": 120, "temperature": 0}
    one = generate_text(*trio, **settings)
    more = generate_text(*trio, **settings, stop_at_eos=False)
    assert one.count(".") == 1
    assert more.startswith(one)
    assert more.count(".") > 2
    assert ". " in more


def test_each_new_sentence_begins_with_bos(trio: Trio) -> None:
    ids = generate_ids(trio.model, [], dataclasses.replace(ARGMAX, max_new_tokens=100))
    assert EOS_ID in ids
    for token, following in itertools.pairwise(ids):
        assert (token == EOS_ID) == (following == BOS_ID)
    assert len([token for token in ids if token != BOS_ID]) == 100
    stopped = generate_ids(trio.model, [], dataclasses.replace(ARGMAX, stop_at_eos=True))
    assert stopped == ids[: ids.index(EOS_ID)]


def test_repetition_penalty_makes_a_text_less_repetitive(untrained: Trio) -> None:
    def distinct(penalty: float) -> int:
        sampling = dataclasses.replace(ARGMAX, repetition_penalty=penalty)
        return len(set(generate_ids(untrained.model, [40], sampling)))

    # Untrained, a model with tied embeddings likes best what it has just read.
    assert distinct(1.0) < 5
    assert distinct(10.0) > 20


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " ",
        "  ике буш урын",
        "👩‍👩‍👧 Казан 🌍",
        "<bos>Казан<eos>",
        "<pad><unk>",
        "юл\nюл\n",
        "\x00",
        "\ufffd",
        "Казан " * 100,
    ],
)
def test_any_prompt_comes_back_unchanged(prompt: str, trio: Trio, untrained: Trio) -> None:
    for three in (trio, untrained):
        text = generate_text(*three, prompt=prompt, max_new_tokens=20, seed=1)
        assert text.startswith(prompt)
        assert generate_text(*three, prompt=prompt, max_new_tokens=0) == prompt


def test_lone_surrogates_in_a_prompt_become_replacement_characters(trio: Trio) -> None:
    assert generate_text(*trio, prompt="а\ud800б", max_new_tokens=0) == "а\ufffdб"


def test_special_tokens_spelt_in_a_prompt_are_text(trio: Trio) -> None:
    # If <eos> were taken for the token, a new sentence would follow.
    prompt_ids = trio.tokenizer.encode("Казан<eos>").ids
    assert EOS_ID not in prompt_ids
    assert trio.tokenizer.decode(prompt_ids) == "Казан<eos>"


def test_a_prompt_longer_than_the_context_is_continued_from_its_end(trio: Trio) -> None:
    long = "Казан шәһәре матур һәм зур башкала анда " * 30
    prompt = long + "Казан"
    assert len(trio.tokenizer.encode(prompt).ids) > 3 * trio.model.config.block_size
    text = generate_text(*trio, prompt=prompt, max_new_tokens=10, temperature=0)
    assert text.startswith(prompt + " шәһәре")


def test_a_text_does_not_end_in_half_a_letter(untrained: Trio) -> None:
    texts = [
        generate_text(*untrained, prompt="Казан", max_new_tokens=n, temperature=1.0, seed=n)
        for n in range(1, 30)
    ]
    assert any("\ufffd" in text for text in texts)  # it does write bytes that are no text
    assert not any(text.endswith("\ufffd") for text in texts)
    assert all(text.startswith("Казан") for text in texts)


def test_settings_out_of_range_are_told_all_at_once(trio: Trio) -> None:
    with pytest.raises(ConfigError) as caught:
        generate_text(
            *trio, max_new_tokens=-1, temperature=-0.1, top_k=0, top_p=1.5, min_p=-1,
            repetition_penalty=0, seed=-1,
        )  # fmt: skip
    assert len(caught.value.problems) == 7
    with pytest.raises(ConfigError, match="temperature nan"):
        generate_text(*trio, temperature=float("nan"))


# -------------------------------------------------------------------------------- one token

LOGITS = torch.tensor([9.0, 9.0, 9.0, 0.0, 2.0, 1.0, -1.0, 0.5])


def chosen(logits: torch.Tensor = LOGITS, ids: tuple[int, ...] = (), **how: Any) -> list[int]:
    """Two thousand choices."""
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(**how)
    return [choose_token(logits, list(ids), sampling, generator) for _ in range(2000)]


def test_tokens_that_are_not_text_are_never_chosen() -> None:
    assert set(chosen(temperature=5.0)) == {3, 4, 5, 6, 7}
    assert chosen(temperature=0)[0] == 4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_choices_follow_the_probabilities(temperature: float) -> None:
    tokens = chosen(temperature=temperature)
    expected = (LOGITS[3:] / temperature).softmax(0)
    for token, probability in enumerate(expected.tolist(), start=3):
        share = tokens.count(token) / len(tokens)
        assert share == pytest.approx(probability, abs=0.04)  # 0.04: four standard deviations


@pytest.mark.parametrize(
    ("k", "allowed"), [(1, {4}), (2, {4, 5}), (3, {4, 5, 7}), (100, {3, 4, 5, 6, 7})]
)
def test_top_k_keeps_the_k_likeliest(k: int, allowed: set[int]) -> None:
    assert set(chosen(temperature=3.0, top_k=k)) == allowed


def test_top_p_keeps_the_fewest_that_reach_p() -> None:
    # In order: 4, 5, 7, 3, 6 with probabilities 0.517, 0.190, 0.115, 0.070, 0.026 of five.
    probabilities = LOGITS[3:].softmax(0).sort(descending=True).values.cumsum(0)
    order = [4, 5, 7, 3, 6]
    for n in range(1, 6):
        allowed = set(order[:n])
        just_enough = float(probabilities[n - 1]) - 1e-3
        assert set(chosen(temperature=1.0, top_p=just_enough)) == allowed


def test_top_k_and_top_p_together_keep_what_both_keep() -> None:
    # Of the two likeliest, the first has 73 %.
    assert set(chosen(temperature=1.0, top_k=2, top_p=0.7)) == {4}
    assert set(chosen(temperature=1.0, top_k=2, top_p=0.99)) == {4, 5}


def test_min_p_keeps_what_is_at_least_a_share_of_the_likeliest() -> None:
    # 4 is the likeliest; 5, 7, 3 and 6 are exp(-1), exp(-1.5), exp(-2) and exp(-3) as likely.
    for min_p, allowed in ((0.9, {4}), (0.3, {4, 5}), (0.2, {4, 5, 7}), (0.1, {3, 4, 5, 7})):
        assert set(chosen(temperature=1.0, min_p=min_p)) == allowed
    assert set(chosen(temperature=1.0, min_p=0.0)) == {3, 4, 5, 6, 7}
    # As top_k and top_p, it looks at the probabilities that the temperature has made.
    assert set(chosen(temperature=3.0, min_p=0.5)) == {3, 4, 5, 7}


def test_repetition_penalty_divides_what_is_likely_and_multiplies_what_is_not() -> None:
    # 2.0 / 4 = 0.5 falls behind 1.0; an untouched token stays as it is.
    assert chosen(ids=(4,), temperature=0, repetition_penalty=4.0)[0] == 5
    assert chosen(ids=(4,), temperature=0, repetition_penalty=1.9)[0] == 4
    below = torch.tensor([0.0, 0.0, 0.0, -1.0, -1.1])
    assert chosen(below, ids=(3,), temperature=0, repetition_penalty=1.0)[0] == 3
    assert chosen(below, ids=(3,), temperature=0, repetition_penalty=1.2)[0] == 4
    # Once or often makes no difference.
    assert chosen(ids=(4, 4, 4), temperature=0, repetition_penalty=1.9)[0] == 4


def test_choosing_leaves_the_logits_as_they_were() -> None:
    logits = LOGITS.clone()
    chosen(logits, ids=(4,), temperature=0.7, top_k=2, top_p=0.5, repetition_penalty=2.0)
    assert torch.equal(logits, LOGITS)


def test_a_model_without_a_card_generates_too(trio: Trio) -> None:
    bare = GPT(ModelConfig(**vars(trio.model.config))).eval()
    assert generate_text(bare, trio.tokenizer, trio.facts, "Казан", 5).startswith("Казан")
