"""Reading what somebody else packed: good files, broken files, hostile files."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline import archive
from pipeline.archive import DamagedArchive, read_lines
from pipeline.errors import CorpusError

TEXT = "Беренче юл.\nИкенче юл.\r\n\nСоңгы юл".encode()
NAME = "tat_test_2026_1K"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", TEXT),
        ("a.TXT", TEXT),
        ("a.txt.gz", gzip.compress(TEXT)),
        ("a.txt.gz", gzip.compress(TEXT[:20]) + gzip.compress(TEXT[20:])),
        ("a.txt.xz", lzma.compress(TEXT)),
    ],
)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_texts(tmp_path: Path, name: str, data: bytes, bom: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(bom + data if name.lower().endswith(".txt") else data)
    assert list(read_lines(path)) == TEXT.split(b"\n")


def test_the_sentences_of_a_leipzig_archive(
    tmp_path: Path, pack_leipzig: Any, lines: list[str]
) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(pack_leipzig(lines))
    assert list(read_lines(path)) == [f"{i}\t{s}".encode() for i, s in enumerate(lines, 1)]


def test_lines_over_chunk_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join("ә" * n for n in range(200)).encode()
    (tmp_path / "a.txt").write_bytes(text)
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr(archive, "CHUNK", size)
        monkeypatch.setattr(archive, "SNIFF", size)
        assert b"\n".join(read_lines(tmp_path / "a.txt")) == text


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    text = ("сүз " * 1_000_000).encode()
    (tmp_path / "a.txt").write_bytes(text)
    pieces = list(read_lines(tmp_path / "a.txt"))
    assert max(map(len, pieces)) <= archive.MAX_LINE_BYTES
    assert b"".join(pieces) == text
    for piece in pieces:
        piece.decode("utf-8")  # no letter is cut in two


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.98])
def test_a_truncated_archive(
    tmp_path: Path, pack_leipzig: Any, lines: list[str], keep: float
) -> None:
    data = pack_leipzig(lines)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DamagedArchive, match=r"x\.tar\.gz is truncated"):
        list(read_lines(path))


def test_a_wrong_checksum_at_the_very_end(
    tmp_path: Path, pack_leipzig: Any, lines: list[str]
) -> None:
    data = bytearray(pack_leipzig(lines))
    data[-6] ^= 1
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data)
    with pytest.raises(DamagedArchive, match="CRC"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.xz", "a.tar.gz"])
@pytest.mark.parametrize("data", [TEXT, b"<html>no</html>"])
def test_not_compressed_at_all(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DamagedArchive, match=f"{name} is not a compressed file"):
        list(read_lines(path))


def test_an_empty_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(b"")
    with pytest.raises(DamagedArchive, match="empty"):
        list(read_lines(path))


def test_compressed_but_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(TEXT * 100))
    with pytest.raises(CorpusError, match=r"x\.tar\.gz is not a whole tar archive"):
        list(read_lines(path))


def test_a_tar_that_ends_too_early(tmp_path: Path, pack_leipzig: Any, lines: list[str]) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(gzip.decompress(pack_leipzig(lines))[:9000]))
    with pytest.raises(DamagedArchive, match="not a whole tar"):
        list(read_lines(path))


def test_no_sentences_inside(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(pack({"x/x-words.txt": b"1\tx\t1\n", "x/._x-sentences.txt": b"mac\n"}))
    with pytest.raises(CorpusError, match=r"holds no .*sentences\.txt"):
        list(read_lines(path))


def test_two_sentences_members(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(pack({"x/x-sentences.txt": b"1\tx\n", "y/y-sentences.txt": b"1\ty\n"}))
    with pytest.raises(CorpusError, match="more than one"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil.txt", "x/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"]
)
def test_members_that_point_outside(tmp_path: Path, pack: Any, name: str) -> None:
    for members in (
        {name: b"x", "x/x-sentences.txt": b"1\tx\n"},
        {"x/x-sentences.txt": b"1\tx\n", name: b"x"},
    ):
        path = tmp_path / "in" / "x.tar.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pack(members))
        with pytest.raises(CorpusError, match="outside"):
            list(read_lines(path))
        assert [p.name for p in tmp_path.rglob("*")] == ["in", "x.tar.gz"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("1\tsecret\n", encoding="utf-8")
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        member = tarfile.TarInfo("x/x-sentences.txt")
        member.type, member.linkname = tarfile.SYMTYPE, str(secret)
        packed.addfile(member)
    with pytest.raises(CorpusError, match="holds no"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["bomb.txt.gz", "bomb.txt.xz", "bomb.tar.gz"])
def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(archive, "BOMB_FLOOR", 1 << 20)
    monkeypatch.setattr(archive, "BOMB_FACTOR", 2)
    zeros = b"a b\n" * (1 << 20)
    plain = zeros
    if name == "bomb.tar.gz":
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as packed:
            member = tarfile.TarInfo("x/x-sentences.txt")
            member.size = len(zeros)
            packed.addfile(member, io.BytesIO(zeros))
        plain = whole.getvalue()
    path = tmp_path / name
    path.write_bytes(lzma.compress(plain) if name.endswith("xz") else gzip.compress(plain))
    with pytest.raises(CorpusError, match=rf"{name} unfolds to more than 1 MB.*bomb"):
        list(read_lines(path))
    monkeypatch.setattr(archive, "BOMB_FLOOR", 1 << 23)
    assert sum(1 for _ in read_lines(path)) == 1 << 20


def test_the_limit_lets_repetitive_text_through() -> None:
    text = b"Bu bik kabatlangan text. " * 100_000
    assert len(text) < archive.BOMB_FLOOR + archive.BOMB_FACTOR * len(gzip.compress(text))


def test_a_member_with_an_endless_name(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as packed:
        packed.addfile(tarfile.TarInfo("x" * (archive.MAX_TAR_HEADER + 1)))
    with pytest.raises(CorpusError, match="header"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("Казан шәһәре\n".encode("utf-16"), "UTF-16 .*iconv -f UTF-16 "),
        (("Казан шәһәре. " * 50).encode("utf-16-le"), "UTF-16 .*iconv -f UTF-16LE"),
        ("Казан шәһәре\n".encode("utf-16-be"), "UTF-16 .*iconv -f UTF-16BE"),
        ("Казан каласы матур.\n".encode("cp1251"), "Windows-1251.*iconv -f CP1251"),
        (("Казан каласы матур.\n" * 9000).encode("cp1251"), "Windows-1251"),
        (bytes(range(256)) * 10, "binary"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "binary"),
        ("Ça a été créé à côté\n".encode("latin-1") * 10, "not UTF-8 text: 10 of 10 lines"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "my text.txt"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=words) as error:
        list(read_lines(path))
    assert "my text.txt" in str(error.value)


def test_some_damaged_lines_are_no_other_encoding(tmp_path: Path) -> None:
    lines = ["Казан шәһәре.".encode()] * 99 + [b"\xd0\xff\x00"]
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n".join(lines))
    assert list(read_lines(path)) == lines


def test_a_letter_cut_by_the_first_look_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for shift in (0, 1):  # one of the two cuts a letter at the border
        path.write_bytes(b" " * shift + ("ә" * 100_000).encode() + b"\n")
        assert sum(map(len, read_lines(path))) == 200_000 + shift
