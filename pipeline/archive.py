"""Reading text that somebody else packed: Leipzig archives and .txt, .txt.gz, .txt.xz files.

Nothing is ever extracted. Lines are streamed as bytes, what a compressed file may unfold to
is limited, and a file that is not UTF-8 text is refused with the command that mends it.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import shlex
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Protocol

from pipeline.errors import CorpusError
from pipeline.files import shown

CHUNK = 1 << 20
SNIFF = 1 << 16

# A longer line is handed on in pieces, so that a file without line breaks cannot fill the memory.
MAX_LINE_BYTES = 1 << 20

# Real archives unfold to 3 to 5 times their size; highly repetitive text to 30 times.
BOMB_FLOOR = 256 << 20
BOMB_FACTOR = 100

# The share of damaged lines above which the whole file is of another encoding.
MAX_BAD_LINES = 0.05

# Names and attributes of a member; tarfile reads them into memory whole.
MAX_TAR_HEADER = 1 << 20

ARCHIVE_ENDINGS = (".tar.gz", ".tgz")
INPUT_ENDINGS = (".txt", ".txt.gz", ".txt.xz", *ARCHIVE_ENDINGS)


class DamagedArchive(CorpusError):
    """A compressed file that is truncated or does not match its own checksum."""

    def __init__(self, path: Path, trouble: str, remedy: str) -> None:
        super().__init__(f"{shown(path)} {trouble}. {remedy}")
        self.path = path
        self.trouble = trouble


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class BoundedReader:
    """The unpacked bytes of a compressed file, up to a limit that no honest text reaches."""

    def __init__(self, packed: Readable, path: Path, limit: int) -> None:
        self.packed = packed
        self.path = path
        self.limit = limit
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        room = self.limit - self.count + 1
        try:
            data = self.packed.read(room if size < 0 else min(size, room))
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            if self.count == 0 and isinstance(error, gzip.BadGzipFile | lzma.LZMAError):
                raise DamagedArchive(
                    self.path,
                    f"is not a compressed file ({error})",
                    "Check that it was downloaded whole, or give it its right name",
                ) from None
            raise DamagedArchive(
                self.path, f"is truncated or damaged ({error})", "Get it again"
            ) from None
        self.count += len(data)
        if self.count > self.limit:
            raise CorpusError(
                f"{shown(self.path)} unfolds to more than {self.limit / 1e6:,.0f} MB, "
                f"{BOMB_FACTOR} times its size and more: it looks like a decompression bomb "
                "and is not used. Unpack it yourself if you trust it, and give the .txt file"
            )
        return data


class _ModestTarInfo(tarfile.TarInfo):
    """A member whose name and attributes cannot fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if not self.isreg() and self.size > MAX_TAR_HEADER:
            raise CorpusError(
                f"an archive with a {self.size:,}-byte header inside is not used. Get another copy"
            )
        return super()._proc_member(archive)  # type: ignore[misc]


def input_ending(path: Path) -> str:
    """The ending that says how to read the file, or "" where it is none that we read."""
    name = path.name.lower()
    return next((e for e in sorted(INPUT_ENDINGS, key=len, reverse=True) if name.endswith(e)), "")


def read_lines(path: Path) -> Iterator[bytes]:
    """The raw lines of a text or of the sentences in a Leipzig archive, without line ends."""
    ending = input_ending(path)
    if ending in ARCHIVE_ENDINGS:
        yield from _archive_lines(path)
        return
    with path.open("rb") as file:
        yield from _text_lines(file if ending == ".txt" else _unpacked(file, path, ending), path)


def _unpacked(file: IO[bytes], path: Path, ending: str) -> BoundedReader:
    limit = BOMB_FLOOR + BOMB_FACTOR * path.stat().st_size
    if ending.endswith(".xz"):
        return BoundedReader(lzma.LZMAFile(file), path, limit)
    return BoundedReader(gzip.GzipFile(fileobj=file), path, limit)


def _archive_lines(path: Path) -> Iterator[bytes]:
    found = False
    with path.open("rb") as file:
        reader = _unpacked(file, path, ".gz")
        try:
            with tarfile.open(
                fileobj=reader,  # type: ignore[call-overload]
                mode="r|",
                tarinfo=_ModestTarInfo,
            ) as archive:
                for member in archive:
                    _refuse_outside(member.name, path)
                    if not _holds_sentences(member):
                        continue
                    if found:
                        raise CorpusError(
                            f"{shown(path)} holds more than one *-sentences.txt. "
                            "Unpack it and give the one you mean"
                        )
                    found = True
                    text = archive.extractfile(member)
                    assert text is not None
                    with text:
                        yield from _text_lines(text, path)
            while reader.read(CHUNK):  # a wrong checksum shows only at the very end
                pass
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise DamagedArchive(
                path, f"is not a whole tar archive ({error})", "Get it again"
            ) from None
    if not found:
        raise CorpusError(
            f"{shown(path)} holds no *-sentences.txt, so it is no Leipzig corpus. "
            "Give plain text as .txt or .txt.gz"
        )


def _refuse_outside(name: str, path: Path) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.anchor or ".." in posix.parts or ".." in windows.parts:
        raise CorpusError(
            f"{shown(path)} holds a member named {name!r}, which points outside the archive: "
            "it is not used. Get the archive from a source you trust"
        )


def _holds_sentences(member: tarfile.TarInfo) -> bool:
    base = PurePosixPath(member.name).name
    return (
        member.isreg()
        and not member.issparse()  # a sparse member unfolds past the limit
        and base.endswith("-sentences.txt")
        and not base.startswith(".")
    )


def _text_lines(stream: Readable, path: Path) -> Iterator[bytes]:
    head = b""
    while len(head) < SNIFF and (more := stream.read(SNIFF - len(head))):
        head += more
    refuse_other_encodings(head, path)
    return _split(head.removeprefix(b"\xef\xbb\xbf"), stream)


def _split(carry: bytes, stream: Readable) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        *lines, carry = (carry + chunk).split(b"\n")
        yield from lines
        while len(carry) > MAX_LINE_BYTES:
            cut = max(carry.rfind(b" ", 0, MAX_LINE_BYTES), 0) or MAX_LINE_BYTES
            yield carry[:cut]
            carry = carry[cut:]
    lines = carry.split(b"\n")
    yield from lines if lines[-1] else lines[:-1]


def refuse_other_encodings(head: bytes, path: Path) -> None:
    """Raise CorpusError where the first bytes of a file show that it is not UTF-8 text."""
    name = shown(path)
    source = name if input_ending(path) == ".txt" else "FILE.txt"
    target = source[: -len(".txt")] + ".utf8.txt"

    def iconv(encoding: str) -> str:
        files = f"{shlex.quote(source)} > {shlex.quote(target)}"
        return f"Convert it: iconv -f {encoding} -t UTF-8 {files}"

    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError(f"{name} is UTF-16 text, not UTF-8. {iconv('UTF-16')}")
    end = head.rfind(b"\n") + 1 or head.rfind(b" ") + 1
    lines = (head[:end] if len(head) >= SNIFF and end else head).split(b"\n")
    lines = [line for line in lines if line.strip()]
    allowed = MAX_BAD_LINES * len(lines)
    if sum(b"\0" in line for line in lines) > allowed:
        for encoding in ("UTF-16LE", "UTF-16BE"):
            if _mostly_cyrillic(head[: len(head) & ~1], encoding):
                raise CorpusError(f"{name} is UTF-16 text, not UTF-8. {iconv(encoding)}")
        raise CorpusError(f"{name} is a binary file, not text. Give UTF-8 text, a sentence a line")
    bad = sum(not _is_utf8(line) for line in lines)
    if bad > allowed:
        if _mostly_cyrillic(b"\n".join(lines), "cp1251"):
            raise CorpusError(f"{name} looks like Windows-1251 text. {iconv('CP1251')}")
        raise too_damaged(path, bad, len(lines))


def too_damaged(path: Path, bad: int, total: int) -> CorpusError:
    return CorpusError(
        f"{shown(path)} is not UTF-8 text: {bad:,} of {total:,} lines cannot be read. "
        "Save it as UTF-8"
    )


def _is_utf8(line: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        line.decode("utf-8")
        return True
    return False


def _mostly_cyrillic(data: bytes, encoding: str) -> bool:
    letters = [c for c in data.decode(encoding, errors="ignore") if c.isalpha()]
    return sum("\u0400" <= c <= "\u04ff" for c in letters) > 0.7 * max(len(letters), 1)
