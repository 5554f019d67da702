"""Files that are whole or not there: atomic writing, JSON, hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.errors import TatarGPTError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes its name only when it is complete and on the disk.

    It is written as `<name>.tmp` in the same folder, flushed, then renamed. After an
    exception the temporary file is removed and an older file of that name is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with errors_name(path), temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Name this path in an OSError that names none: a full disk shows in write(), not in open()."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second program of ours out of a folder; the lock ends with the process.

    Raises TatarGPTError if another one is at work there. Does nothing where there is no flock.
    """
    if fcntl is None:
        yield
        return
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"tatar-gpt-{os.getuid()}-{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TatarGPTError(
                f"another run is at work in {shown(folder)}. Wait for it, or name another folder"
            ) from None
        yield


def json_bytes(value: Any) -> bytes:
    """A value as our JSON files hold it."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    # A file name that is no UTF-8 text keeps its bytes.
    return text.encode("utf-8", "surrogateescape")


def write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write(json_bytes(value))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of ours. Raises TatarGPTError if there is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSONDecodeError are such
        raise TatarGPTError(
            f"{shown(path)} is damaged ({error}). Delete it, or make it anew with --force"
        ) from None
    return value


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """The SHA-256 of a value that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()


def shown(path: Path) -> str:
    """A path as a person would type it: relative to the working folder where it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
