"""Which side a sentence lands on."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from config import SAMPLE_DIR
from pipeline.corpus import Source, prepare, split_place

TEXT = st.text(min_size=1, max_size=80)


def test_the_place_is_the_same_in_every_process_and_version() -> None:
    # Pinned: another value would deal out every corpus anew.
    assert split_place("Казан шәһәре Татарстан Республикасының башкаласы.") == 0.27390411731134556


@given(TEXT)
def test_the_place_is_in_range_and_ignores_case_and_punctuation(text: str) -> None:
    place = split_place(text)
    assert 0 <= place < 1
    assert split_place(f"«{text}»!") == place
    assert split_place(text.replace(" ", "  ")) == place


def test_places_are_spread_evenly() -> None:
    places = [split_place(f"Бу {i} нче җөмлә.") for i in range(20_000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= place < (tenth + 1) / 10 for place in places) / len(places)
        assert 0.09 < share < 0.11


def sides(
    tmp_path: Path, name: str, lines: list[str], fraction: float
) -> tuple[set[str], set[str]]:
    text = tmp_path / f"{name}.txt"
    text.write_text("\n".join(lines), encoding="utf-8")
    source = Source(name, text, sha256=name)
    prepare([source], tmp_path / name, corpus=name, val_fraction=fraction)
    return tuple(  # type: ignore[return-value]
        set((tmp_path / name / f"{side}.txt").read_text(encoding="utf-8").splitlines())
        for side in ("train", "val")
    )


def sample_lines() -> list[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLE_DIR.glob("*.txt")))
    return [line for line in text.splitlines() if line]


def test_no_sentence_stands_on_both_sides(tmp_path: Path) -> None:
    lines = sample_lines()
    train, val = sides(tmp_path, "a", [*lines, *(f"{line.upper()}!" for line in lines)], 0.2)
    assert not train & val
    assert train and val
    # Nor does one that differs only in case and punctuation.
    assert not {split_place(line) for line in train} & {split_place(line) for line in val}


def test_the_side_does_not_depend_on_the_rest_of_the_corpus(tmp_path: Path) -> None:
    lines = sample_lines()
    train, val = sides(tmp_path, "whole", lines, 0.2)
    half_train, half_val = sides(tmp_path, "half", lines[::-2], 0.2)
    assert half_train <= train
    assert half_val <= val


def test_a_larger_fraction_takes_all_of_a_smaller_one(tmp_path: Path) -> None:
    lines = sample_lines()
    _, small = sides(tmp_path, "small", lines, 0.1)
    _, large = sides(tmp_path, "large", lines, 0.3)
    assert small < large
