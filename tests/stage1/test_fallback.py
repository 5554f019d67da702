"""When the built-in sample may stand in for the Leipzig corpus, and when not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import DEFAULT_CORPUS

Stage = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def manifest(data: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    return value


def assert_fell_back(outcome: Any, data: Path, reason: str) -> None:
    assert outcome.code == 0
    assert outcome.err == ""
    assert "built-in sample takes its place" in outcome.out
    assert reason in outcome.out
    assert "run_pipeline.sh --force" in outcome.out
    found = manifest(data)
    assert found["built_in_sample"] is True
    assert found["corpus"] == "built-in sample"
    assert reason in found["fallback"]


def test_no_such_archive(stage1: Stage, data: Path, server: Any) -> None:
    outcome = stage1("--fallback-sample", "--base-url", server.url, "--data-dir", data)
    assert_fell_back(outcome, data, "404")


def test_a_web_page(stage1: Stage, data: Path, server: Any) -> None:
    server.put(DEFAULT_CORPUS, b"<html>maintenance</html>", content_type="text/html")
    outcome = stage1("--fallback-sample", "--base-url", server.url, "--data-dir", data)
    assert_fell_back(outcome, data, "web page")


def test_nobody_listens_and_every_try_is_told(stage1: Stage, data: Path, dead_url: str) -> None:
    # The only test that waits the pauses of a real run, 15 seconds.
    outcome = stage1("--fallback-sample", "--base-url", dead_url, "--data-dir", data)
    assert_fell_back(outcome, data, "refuses the connection")
    assert [f"try {n} of 5" in outcome.out for n in range(2, 6)] == [True] * 4
    # Later runs ask once, keep what is there, and say so in one line.
    again = stage1("--fallback-sample", "--base-url", dead_url, "--data-dir", data)
    assert again.code == 0
    assert "still cannot be had (the server refuses the connection)" in again.out
    assert "lines read" not in again.out


@pytest.mark.parametrize(
    "flags",
    [
        (),  # stage 1 on its own never falls back
        ("--fallback-sample", "--corpora", "tat_typo_2015_1M"),
        ("--fallback-sample", "--corpora", DEFAULT_CORPUS, "tat_typo"),
    ],
)
def test_not_asked_for_or_not_the_default_corpus(
    stage1: Stage, data: Path, server: Any, flags: tuple[str, ...]
) -> None:
    outcome = stage1(*flags, "--base-url", server.url, "--data-dir", data)
    assert outcome.code == 2
    assert "404" in outcome.err
    assert not (data / "manifest.json").exists()


def test_a_fault_that_is_not_the_servers_absence(
    stage1: Stage, data: Path, server: Any, tmp_path: Path
) -> None:
    arguments = ("--fallback-sample", "--base-url", server.url, "--data-dir", data)
    server.put(DEFAULT_CORPUS, b"\x1f\x8b but broken")
    assert stage1(*arguments).code == 2
    server.put(DEFAULT_CORPUS, b"PK zip")
    assert stage1(*arguments).code == 2
    assert stage1(*arguments, "--input", tmp_path / "none.txt").code == 2
    assert not (data / "manifest.json").exists()


def test_a_later_run_says_what_force_would_replace(
    stage1: Stage,
    data: Path,
    server: Any,
    pack_leipzig: Any,
    lines: list[str],
    folder_state: Any,
) -> None:
    arguments = ("--fallback-sample", "--base-url", server.url, "--data-dir", data)
    assert stage1(*arguments).code == 0
    before = folder_state(data)
    server.requests.clear()
    still = stage1(*arguments)
    assert still.code == 0
    assert "still cannot be had" in still.out and "404" in still.out
    assert len(server.requests) == 1
    assert folder_state(data) == before

    server.put(DEFAULT_CORPUS, pack_leipzig(lines))
    back = stage1(*arguments)
    assert back.code == 0
    for words in ("can be had again", "--force", "built-in sample", "tokenizer and the model"):
        assert words in back.out
    assert folder_state(data) == before

    forced = stage1(*arguments, "--force")
    assert forced.code == 0
    assert manifest(data)["corpus"] == DEFAULT_CORPUS
    assert manifest(data)["fallback"] is None
    assert manifest(data)["built_in_sample"] is False


def test_the_fallback_is_no_obstacle_to_other_sources(
    stage1: Stage, data: Path, server: Any, tmp_path: Path, lines: list[str]
) -> None:
    assert stage1("--fallback-sample", "--base-url", server.url, "--data-dir", data).code == 0
    text = tmp_path / "mine.txt"
    text.write_text("\n".join(lines), encoding="utf-8")
    assert stage1("--fallback-sample", "--input", text, "--data-dir", data).code == 0
    assert manifest(data)["corpus"] == "mine.txt"


def test_a_prepared_default_corpus_is_not_replaced_by_the_sample(
    stage1: Stage, data: Path, server: Any, pack_leipzig: Any, lines: list[str], folder_state: Any
) -> None:
    arguments = ("--fallback-sample", "--base-url", server.url, "--data-dir", data)
    server.put(DEFAULT_CORPUS, pack_leipzig(lines))
    assert stage1(*arguments).code == 0
    (data / "downloads" / f"{DEFAULT_CORPUS}.tar.gz").unlink()
    before = folder_state(data)
    server.shelves.clear()
    outcome = stage1(*arguments, "--force")
    assert outcome.code == 0
    assert f"keeps {DEFAULT_CORPUS}" in outcome.out
    assert folder_state(data) == before
