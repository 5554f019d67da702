"""What the tests of stage 1 share: archives as Leipzig packs them, a server, the stage itself."""

from __future__ import annotations

import gzip
import importlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config import PROJECT_DIR

NAME = "tat_test_2026_1K"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def stage1(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run stage 1 in this process: stage1("--sample", "--data-dir", path)."""
    monkeypatch.delenv("LEIPZIG_BASE_URL", raising=False)
    main = importlib.import_module("01_prepare_data").main

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


def tatar_lines(n: int) -> list[str]:
    """`n` different Tatar sentences."""
    sample = (PROJECT_DIR / "sample_corpus" / "kazan.txt").read_text(encoding="utf-8").splitlines()
    base = [line for line in sample if line]
    return [f"{base[i % len(base)][:-1]} ({i} нче юл)." for i in range(n)]


@pytest.fixture
def lines() -> list[str]:
    return tatar_lines(300)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def packed(members: dict[str, bytes]) -> bytes:
    """A .tar.gz with these members, the same bytes each time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in members.items():
            add(archive, name, data)
    return gzip.compress(plain.getvalue(), mtime=0)


def leipzig(sentences: list[str], name: str = NAME) -> bytes:
    """An archive as Leipzig makes it, with its other members around the sentences."""
    numbered = "".join(f"{i}\t{s}\n" for i, s in enumerate(sentences, 1)).encode("utf-8")
    return packed(
        {
            f"{name}/{name}-words.txt": "1\tһәм\t7\n".encode(),
            f"{name}/{name}-sentences.txt": numbered,
            f"{name}/{name}-sources.txt": b"1\thttp://example.org\t2015-01-01\n",
        }
    )


@pytest.fixture
def pack() -> Callable[[dict[str, bytes]], bytes]:
    return packed


@pytest.fixture
def pack_leipzig() -> Callable[..., bytes]:
    return leipzig


@dataclass
class Shelf:
    """What one path of the server gives, and how it misbehaves."""

    data: bytes
    etag: str = '"one"'
    ranges: bool = True
    content_type: str = "application/gzip"
    # Statuses for the coming requests, one each, before the file is given.
    statuses: list[int] = field(default_factory=list)
    # The connection breaks after so many bytes, one entry a request.
    breaks: list[int] = field(default_factory=list)
    announced: int | None = None
    # What the server does after a request, such as putting another file in place.
    after: Callable[[], None] = lambda: None


class ArchiveServer:
    """A real HTTP server on loopback with ranges, validators and faults."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append({"path": self.path, **dict(self.headers.items())})
                self.close_connection = True
                outer.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def put(self, name: str, data: bytes, **kind: Any) -> Shelf:
        self.shelves[f"/{name}.tar.gz"] = shelf = Shelf(data, **kind)
        return shelf

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        shelf = self.shelves.get(request.path)
        if shelf is None or shelf.statuses:
            self.head(request, shelf.statuses.pop(0) if shelf else 404, 0, {})
            return
        data, status, extra = shelf.data, 200, {"ETag": shelf.etag} if shelf.etag else {}
        wanted = request.headers.get("Range", "")
        fresh = request.headers.get("If-Range", shelf.etag) == shelf.etag
        if shelf.ranges and wanted and fresh:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            if start >= len(data):
                self.head(request, 416, 0, {"Content-Range": f"bytes */{len(data)}"})
                return
            extra["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        length = len(data) if shelf.announced is None else shelf.announced
        self.head(request, status, length, {"Content-Type": shelf.content_type, **extra})
        request.wfile.write(data[: shelf.breaks.pop(0)] if shelf.breaks else data)
        shelf.after()

    @staticmethod
    def head(
        request: BaseHTTPRequestHandler, status: int, length: int, headers: dict[str, str]
    ) -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(length))
        request.send_header("Connection", "close")
        request.end_headers()


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    running = ArchiveServer()
    yield running
    running.close()


@pytest.fixture
def dead_url() -> str:
    """An address where nobody listens."""
    gone = ArchiveServer()
    gone.close()
    return gone.url


@pytest.fixture
def folder_state() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes: to see that nothing was touched."""

    def state(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return state
