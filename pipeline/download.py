"""Downloading an archive over HTTP: resumed, retried, checked.

What has come lies in `<name>.part`; beside it `<name>.part.json` remembers which version of
the file the server was sending, so that two versions are never joined.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
from tqdm import tqdm

from config import KNOWN_SHA256
from pipeline.errors import DownloadError, NotAvailable, TatarGPTError
from pipeline.files import errors_name, read_json, sha256_of, shown, sync_folder, write_json

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
# Seconds before the second, third, fourth and fifth try.
PAUSES = (1.0, 2.0, 4.0, 8.0)
GIVE_UP_AFTER = 120.0  # seconds without progress
# A server that sends less than this within GIVE_UP_AFTER makes no progress.
PROGRESS_BYTES = 1 << 16
CHUNK = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
# Disk needed beside the archive, in sizes of the archive: the cleaned text, then its two parts.
# A Leipzig archive is about as large as the sentences in it.
TEXT_PER_ARCHIVE = 2

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")


class _TryAgain(Exception):
    """A failure that may pass: the line for the person."""


class _NotReached(_TryAgain):
    """... before the server sent anything of the file."""


@dataclass
class _Part:
    """The piece of the file that has come so far, and which version it belongs to."""

    path: Path
    url: str
    received: int = 0  # bytes that came in this run

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> dict[str, Any]:
        try:
            version = read_json(self.note)
        except (OSError, TatarGPTError):
            return {}
        validator = version.get("validator")
        is_ours = isinstance(validator, str) and validator.isascii() and validator.isprintable()
        return version if is_ours and version.get("url") == self.url else {}

    def remember(self, headers: Any, total: int | None) -> None:
        # A weak ETag promises the same meaning, not the same bytes.
        etag = headers.get("ETag", "")
        validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
        write_json(self.note, {"url": self.url, "validator": validator, "bytes": total})

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str, target: Path, *, pauses: tuple[float, ...] = PAUSES, timeout: float = READ_TIMEOUT
) -> None:
    """Bring the gzip archive at `url` to `target`, going on with what an earlier run left.

    Raises NotAvailable where the server cannot be reached, has no such file or answers with a
    web page, and DownloadError where it stops in the middle; what came is then kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(target.name + ".part"), url)
    at_start = part.size()
    print(f"Downloading {url}" + (f", from byte {at_start:,} on" if at_start else ""), flush=True)
    last_progress = time.monotonic()
    for number in range(len(pauses) + 1):
        before = part.received
        try:
            _fetch(part, timeout)
            part.path.replace(target)
            part.note.unlink(missing_ok=True)
            sync_folder(target.parent)
            return
        except _TryAgain as failure:
            trouble = failure
        if part.received - before >= PROGRESS_BYTES:
            last_progress = time.monotonic()
        pause = pauses[number] if number < len(pauses) else 0.0
        if time.monotonic() + pause - last_progress > GIVE_UP_AFTER:
            break
        if number < len(pauses):
            print(f"  {trouble}; try {number + 2} of {len(pauses) + 1} in {pause:g} s", flush=True)
            time.sleep(pause)
    if part.received or not isinstance(trouble, _NotReached):
        raise DownloadError(
            f"the download of {url} broke off: {trouble}. {part.size():,} bytes are kept in "
            f"{shown(part.path)}; the same command goes on from there"
        )
    raise NotAvailable(
        f"{url} cannot be had: {trouble}. Try again later, or use --input or --sample"
    )


def probe(url: str, timeout: float = CONNECT_TIMEOUT) -> str:
    """One quick look whether a gzip archive lies at `url`: "" if so, else the reason."""
    try:
        with _get(url, {"Range": "bytes=0-1"}, timeout) as answer:
            _check_status(answer, url)
            return "" if answer.raw.read(2) == GZIP_MAGIC else "it is not a gzip archive"
    except (_TryAgain, NotAvailable, DownloadError) as error:
        return str(error)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return _cause(error)


def check_known(name: str, sha256: str) -> str:
    """A warning where an archive differs from the one this project knows, else ""."""
    if KNOWN_SHA256.get(name, sha256) == sha256:
        return ""
    return (
        f"WARNING: {name}.tar.gz is not the archive this project knows "
        f"(sha256 {sha256}, known {KNOWN_SHA256[name]}). Leipzig may have replaced it; "
        "if you expect the old one, delete it and run the same command again."
    )


def _get(url: str, headers: dict[str, str], timeout: float) -> requests.Response:
    try:
        return requests.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _NotReached(_cause(error)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # Also what an address, or one that the server redirects to, may hold that is none.
        reason = str(error)[:200]
        raise DownloadError(f"{url} cannot be asked for: {reason}. Check --base-url") from None


def _cause(error: BaseException) -> str:
    """The innermost reason, without the objects that libraries print around it."""
    text = str(error)
    if isinstance(error, requests.Timeout | TimeoutError) or "timed out" in text:
        return "the server does not answer in time"
    for sign, words in (
        ("Connection refused", "the server refuses the connection"),
        ("resolve", "the server's name cannot be found (no internet?)"),
        ("unreachable", "the network is unreachable"),
        ("roxy", "the proxy does not let it through"),
        ("SSL", "the encrypted connection fails"),
    ):
        if sign in text:
            return words
    return "the connection broke"


def _check_status(answer: requests.Response, url: str) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    if status in (408, 425, 429) or status >= 500:
        raise _NotReached(f"the server answers {status} {answer.reason}")
    if status in (404, 410):
        raise NotAvailable(
            f"the server has no {url} ({status}). Check the name and --base-url, "
            "or use --input or --sample"
        )
    raise NotAvailable(f"the server does not give {url} ({status} {answer.reason})")


def _fetch(part: _Part, timeout: float) -> None:
    """One request: go on with the part or start anew. Returns when the file is complete."""
    have, version = part.size(), part.version()
    if have and have == version.get("bytes"):
        return
    # Without a validator or a length there is no way to tell the versions apart.
    resumes = have > 0 and bool(version.get("validator") or version.get("bytes"))
    headers = {"Range": f"bytes={have}-"} if resumes else {}
    if resumes and version["validator"]:
        headers["If-Range"] = version["validator"]
    with _get(part.url, headers, timeout) as answer:
        if answer.status_code == 416:
            if headers.get("If-Range") and answer.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.discard()
            raise _TryAgain("the file on the server has changed, starting anew")
        _check_status(answer, part.url)
        start, total = _position(answer)
        if answer.status_code == 206 and (
            start != have or (version.get("bytes") or total) != total
        ):
            part.discard()
            raise _TryAgain("the file on the server has changed, starting anew")
        _need_disk(part.path, total, start)
        _receive(answer, part, start, total)


def _position(answer: requests.Response) -> tuple[int, int | None]:
    """The first byte that an answer brings, and the length of the whole file if it is known."""
    if answer.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if not match or match[1] is None:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _need_disk(path: Path, total: int | None, have: int) -> None:
    if total is None:
        return
    needed = total - have + TEXT_PER_ARCHIVE * total
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DownloadError(
            f"{needed / 1e6:,.0f} MB of disk are needed in {shown(path.parent)} (the archive of "
            f"{total / 1e6:,.0f} MB and {TEXT_PER_ARCHIVE} times as much for its text), "
            f"{free / 1e6:,.0f} MB are free. Free some space, or choose another --data-dir"
        )


def _receive(answer: requests.Response, part: _Part, start: int, total: int | None) -> None:
    have = start
    received_since, clock = 0, time.monotonic()
    first = _read(answer)
    while 0 < len(first) < len(GZIP_MAGIC) and (more := _read(answer)):
        first += more
    if start == 0:
        if not first:
            raise _TryAgain("the server sent nothing")
        _check_magic(first, answer, part.url)
        part.discard()
        part.remember(answer.headers, total)
    with (
        errors_name(part.path),
        part.path.open("ab" if start else "wb") as file,
        # disable=None: no bar where the output is no terminal.
        tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=None) as bar,
    ):
        chunk = first
        while chunk:
            file.write(chunk)
            have += len(chunk)
            part.received += len(chunk)
            bar.update(len(chunk))
            received_since += len(chunk)
            now = time.monotonic()
            if received_since >= PROGRESS_BYTES:
                received_since, clock = 0, now
            elif now - clock > GIVE_UP_AFTER:
                raise _TryAgain("the server sends next to nothing")
            chunk = _read(answer)
    if total is not None and have < total:
        raise _TryAgain(f"the connection broke at {have:,} of {total:,} bytes")


def _read(answer: requests.Response) -> bytes:
    """The next bytes as they come, b"" at the end."""
    try:
        return answer.raw.read1(CHUNK, decode_content=False)
    except (urllib3.exceptions.HTTPError, TimeoutError, ConnectionError) as error:
        raise _TryAgain(_cause(error)) from None


def _check_magic(first: bytes, answer: requests.Response, url: str) -> None:
    if first.startswith(GZIP_MAGIC):
        return
    kind = answer.headers.get("Content-Type", "")
    if "html" in kind or first.lstrip()[:1] == b"<":
        raise NotAvailable(
            f"{url} answers with a web page instead of an archive. Check the name and "
            "--base-url, or use --input or --sample"
        )
    raise DownloadError(f"{url} is not a gzip archive. Check the name and --base-url")


def download_corpus(name: str, base_url: str, folder: Path) -> tuple[Path, str]:
    """The archive of a Leipzig corpus on disk, downloaded if it is not there, and its sha256."""
    target = folder / f"{name}.tar.gz"
    if not target.exists():
        download(archive_url(name, base_url), target)
    sha256 = sha256_of(target)
    if warning := check_known(name, sha256):
        print(warning, file=sys.stderr, flush=True)
    return target, sha256


def archive_url(name: str, base_url: str) -> str:
    return f"{base_url.rstrip('/')}/{name}.tar.gz"
