"""A model that visitors share: what each gets, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from config import EOS_ID
from interface.limits import Limits
from interface.service import Refused, Service, Waiting
from pipeline.errors import CheckpointError
from utils import generate_text, generate_texts, load_tokenizer

GREEDY: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 30, "stop_at_eos": False}


def test_texts_grow_to_what_the_model_writes(make_service: Any, trained: Any) -> None:
    service = make_service()
    trio = (service.model, *load_tokenizer(trained.tokenizer))
    news = list(service.write(["Казан"], [GREEDY]))
    whole = generate_text(*trio, prompt="Казан", **GREEDY)
    assert news[-1].texts == [whole]
    assert [n.is_over for n in news] == [False] * (len(news) - 1) + [True]
    for earlier, later in itertools.pairwise(news):
        assert later.texts[0].startswith(earlier.texts[0])
    assert news[-1].tokens == 30
    assert news[-1].seconds > 0
    assert 0 < news[-1].context_used <= service.model.config.block_size


def test_one_prompt_at_three_temperatures(make_service: Any, trained: Any) -> None:
    service = make_service()
    trio = (service.model, *load_tokenizer(trained.tokenizer))
    settings = [GREEDY | {"temperature": t, "seed": 3, "min_p": 0.3} for t in (0.3, 0.8, 1.5)]
    *_, last = service.write(["Казан"] * 3, settings)
    assert last.texts == [generate_texts(*trio, ["Казан"], **each)[0] for each in settings]


def test_who_leaves_gives_up_the_place(make_service: Any) -> None:
    service = make_service(at_once=1, waiting=1)
    first = service.write(["Казан"], [GREEDY | {"max_new_tokens": 400}])
    assert next(first).tokens > 0
    second = service.write(["Идел"], [GREEDY])
    assert next(second).ahead == 1
    with pytest.raises(Refused, match="busy"):
        next(service.write(["Кама"], [GREEDY]))
    first.close()
    *_, last = second
    assert last.is_over
    with service.line.place() as place:
        assert place.ahead() == 0


@pytest.mark.parametrize(
    ("prompt", "settings", "key"),
    [
        ("а" * 101, {}, "too_long"),
        ("а", {"max_new_tokens": 401}, "too_many_tokens"),
        ("а", {"temperature": -1.0, "top_k": 0}, "out_of_range"),
        ("а", {"max_new_tokens": 10**9}, "too_many_tokens"),
    ],
)
def test_more_than_is_allowed_is_refused(
    prompt: str, settings: dict[str, Any], key: str, make_service: Any
) -> None:
    service = make_service(prompt_characters=100)
    with pytest.raises(Refused, match=key):
        next(service.write([prompt], [settings]))
    with service.line.place() as place:
        assert place.ahead() == 0


def test_a_text_ends_when_its_time_is_over(make_service: Any) -> None:
    service = make_service(seconds=0.0)
    (only,) = service.write(["Казан"], [GREEDY])
    assert only.is_out_of_time
    assert only.is_over
    assert only.tokens == 1


def test_texts_to_measure(make_service: Any) -> None:
    service = make_service(text_characters=50)
    text = "Казан шәһәре матур."
    (measured,) = service.measure(text)
    assert [measured.pieces] == list(service.surprisals(text))
    assert measured.tokens_per_word == (measured.tokens - 1) / 3  # <eos> is no part of a word
    nats = math.log(measured.perplexity) * measured.tokens
    assert measured.bits_per_character == pytest.approx(nats / math.log(2) / (len(text) + 1))
    assert "".join(piece.text for piece in measured.pieces) == text
    (found,) = service.next_tokens(text, 3)
    assert len(found) == 3
    for call in (service.measure, service.surprisals):
        with pytest.raises(Refused, match="empty"):
            next(call(" \n"))
        with pytest.raises(Refused, match="too_long"):
            next(call("а" * 51))
    with pytest.raises(Refused, match="too_long"):
        next(service.next_tokens("а" * 51))


def test_measuring_takes_a_place_in_the_line(make_service: Any) -> None:
    service = make_service(at_once=1, waiting=0)
    with contextlib.closing(service.write(["Казан"], [GREEDY])) as writing:
        next(writing)
        with pytest.raises(Refused, match="busy"):
            next(service.measure("Казан"))
    assert [measured.tokens > 0 for measured in service.measure("Казан")] == [True]


def test_who_waits_is_told_how_many_come_first(make_service: Any) -> None:
    service = make_service(at_once=1, waiting=3)
    with contextlib.closing(service.write(["Казан"], [GREEDY])) as writing:
        next(writing)
        for ask in (service.measure("Казан"), service.surprisals("Казан"), service.next_tokens("")):
            assert next(ask) == Waiting(1)
            ask.close()  # and the place is free again
        assert len(service.line) == 1
    assert len(service.line) == 0


def test_nothing_new_is_news_too(make_service: Any) -> None:
    service = make_service()
    (only,) = service.write(["Казан"], [GREEDY | {"max_new_tokens": 0}])
    assert only.texts == ["Казан"]
    assert only.is_over


def test_a_blank_at_the_end_of_a_prompt_does_no_harm(make_service: Any) -> None:
    service = make_service()
    *_, plain = service.write(["Казан шәһәре"], [GREEDY])
    *_, typed = service.write(["Казан шәһәре  "], [GREEDY])
    assert typed.texts == plain.texts


def test_a_chosen_token_follows_the_prompt(make_service: Any) -> None:
    service = make_service()
    (found,) = service.next_tokens("Казан", 2)
    *_, last = service.write(["Казан"], [GREEDY], [found[1].id])
    *_, other = service.write(["Казан"], [GREEDY])
    assert last.texts[0].startswith("Казан")
    assert last.texts != other.texts
    for forged in (-1, EOS_ID, service.model.config.vocab_size, 10**9):
        with pytest.raises(Refused, match="out_of_range"):
            next(service.write(["Казан"], [GREEDY], [forged]))


def test_a_model_that_is_replaced_can_be_opened(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "best_model.pt"
    shutil.copy(trained.models / "best_model.pt", path)
    service = Service(path, trained.tokenizer, Limits())
    assert not service.is_replaced
    old = service.model
    new = tmp_path / "new.pt"
    shutil.copy(path, new)
    new.replace(path)
    assert service.is_replaced
    service.load()
    assert service.model is not old
    assert not service.is_replaced
    # One that cannot be opened leaves the model that works.
    path.write_bytes(b"no model")
    open_now = service.model
    with pytest.raises(CheckpointError):
        service.load()
    assert service.model is open_now
    path.unlink()
    assert not service.is_replaced
