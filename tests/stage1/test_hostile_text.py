"""Texts and archives made to hang or crash the reader."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive import DamagedArchive, read_lines
from pipeline.clean import Cleaner, sentences


@pytest.mark.parametrize(
    "text", ["." * 1_000_000, "«««" + "Ул китте. " * 100_000, "Ул китте. " * 100_000]
)
def test_a_line_of_a_megabyte_is_cut_in_linear_time(text: str) -> None:
    """Quadratic time would be hours: the test would not end."""
    assert sum(map(len, sentences(text))) > 0


def test_marks_without_end_are_not_normalised() -> None:
    text = "а" + "\u0327\u0301" * 500_000
    cleaner = Cleaner()
    assert cleaner.reason_to_drop(cleaner.normalise(text))


def test_a_quotation_that_never_ends_is_cut_all_the_same() -> None:
    pieces = list(sentences("«" + "Ул китте. " * 1_000))
    assert max(map(len, pieces)) <= 1_100


def test_headers_nested_without_end_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "nested.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        header = tarfile.TarInfo("@LongLink")
        header.type = tarfile.GNUTYPE_LONGNAME
        header.size = 2
        for _ in range(5_000):
            tar.addfile(header, io.BytesIO(b"x\0"))
    with pytest.raises(DamagedArchive):
        list(read_lines(path))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_file_name_that_is_no_utf8(tmp_path: Path, stage1: Any, lines: list[str]) -> None:
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\xfe.txt")
    Path(name).write_text("\n".join(lines), encoding="utf-8")
    outcome = stage1("--input", name, "--data-dir", tmp_path / "data")
    assert outcome.code == 0, outcome.err
