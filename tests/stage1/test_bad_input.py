"""Bad input: one clear line, exit code 2, and nothing in data/ has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAME = "tat_test_2026_1K"
Stage = Callable[..., Any]


def written(data: Path) -> list[str]:
    """All sentences in data/, in no particular order."""
    return sorted(
        line
        for name in ("train.txt", "val.txt")
        for line in (data / name).read_text(encoding="utf-8").splitlines()
    )


def assert_one_line(outcome: Any, *words: str) -> None:
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def text(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "my_text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


BAD_TEXTS = {
    "empty": (b"", "empty"),
    "blank": (b"\n \n\n", "empty"),
    "unusable": ("В этом доме жил поэт.\nОн был стар.\n".encode(), "no usable line"),
    "binary": (b"\x89PNG\r\n\x1a\n" + bytes(500), "binary"),
    "utf16": ("Казан шәһәре".encode("utf-16"), "iconv -f UTF-16"),
    "cp1251": ("Казан каласы\n".encode("cp1251") * 20, "iconv -f CP1251"),
    "late damage": (
        "Казан шәһәре.\n".encode() * 4000 + b"\xff\xfe\xfd\n" * 4000,
        "4,000 of 8,000 lines",
    ),
    "one sentence": ("Казан шәһәре матур.".encode(), "--val-fraction"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_unusable_texts_leave_everything_as_it_was(
    stage1: Stage, data: Path, tmp_path: Path, kind: str, folder_state: Any
) -> None:
    assert stage1("--sample", "--data-dir", data).code == 0
    before = folder_state(data)
    path = tmp_path / "my_text.txt"
    content, words = BAD_TEXTS[kind]
    path.write_bytes(content)
    assert_one_line(stage1("--input", path, "--data-dir", data), "my_text.txt", words)
    assert folder_state(data) == before


@pytest.mark.parametrize("fault", ["truncated", "garbled", "no sentences", "outside", "late"])
def test_unusable_archives(
    stage1: Stage,
    data: Path,
    server: Any,
    pack: Any,
    pack_leipzig: Any,
    lines: list[str],
    fault: str,
    folder_state: Any,
) -> None:
    assert stage1("--sample", "--data-dir", data).code == 0
    before = folder_state(data)
    whole = pack_leipzig(lines)
    bad = {
        "truncated": whole[: len(whole) // 2],
        "garbled": whole[:-6] + b"\0\0\0\0\0\0",
        "no sentences": pack({"x/x-words.txt": b""}),
        "outside": pack({"../x-sentences.txt": b"1\tx\n"}),
        "late": pack({"x/x-sentences.txt": "1\tКазан шәһәре матур.\n".encode(), "/x": b""}),
    }
    server.put(NAME, bad[fault])
    arguments = ("--corpora", NAME, "--base-url", server.url, "--data-dir", data)
    outcome = stage1(*arguments)
    assert_one_line(outcome, f"{NAME}.tar.gz")
    after = folder_state(data)
    after.pop(f"downloads/{NAME}.tar.gz", None)
    assert after == before
    if fault in ("truncated", "garbled"):
        assert "same command downloads it again" in outcome.err
        server.put(NAME, whole)
        assert stage1(*arguments).code == 0
        assert written(data) == sorted(lines)


def test_a_broken_archive_of_ones_own_is_not_deleted(
    stage1: Stage, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(b"\x1f\x8b broken")
    assert_one_line(stage1("--input", path, "--data-dir", data), "mine.tar.gz")
    assert path.exists()


def test_all_wrong_flags_are_told_at_once(stage1: Stage, data: Path, tmp_path: Path) -> None:
    outcome = stage1(
        *("--input", tmp_path / "none.txt", tmp_path / "a.pdf", "--base-url", "ftp://x"),
        *("--data-dir", data),
    )
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 3
    for words in ("none.txt: there is no such file", "a.pdf: must end in .txt", "ftp://x"):
        assert words in outcome.err
    both = stage1("--val-fraction", "2", "--language", "ru", "--wat", "--data-dir", data)
    assert len(both.err.splitlines()) == 3
    assert not data.exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "-x.y", "тат", "a b", ""])
def test_corpus_names_are_no_paths(stage1: Stage, data: Path, dead_url: str, name: str) -> None:
    outcome = stage1(f"--corpora={name}", "--base-url", dead_url, "--data-dir", data)
    assert outcome.code == 2
    assert "--corpora" in outcome.err
    assert not data.exists()


def test_a_file_where_the_folder_should_be(stage1: Stage, data: Path) -> None:
    data.write_text("", encoding="utf-8")
    assert_one_line(stage1("--sample", "--data-dir", data), "data")


needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full"
)


@needs_dev_full
@pytest.mark.parametrize("name", ["cleaned", "train.txt", "val.txt", "manifest.json"])
def test_a_full_disk(stage1: Stage, data: Path, text: Path, name: str, folder_state: Any) -> None:
    assert stage1("--sample", "--data-dir", data).code == 0
    before = folder_state(data)
    (data / f"{name}.tmp").symlink_to("/dev/full")
    assert_one_line(stage1("--input", text, "--data-dir", data), "the disk is full", str(data))
    assert folder_state(data) == before
    assert stage1("--input", text, "--data-dir", data).code == 0
