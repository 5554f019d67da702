"""The download against a real server that misbehaves in each way we know of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from pipeline import download as module
from pipeline.download import check_known, download, probe
from pipeline.errors import DownloadError, NotAvailable

NO_PAUSE = (0.0, 0.0, 0.0, 0.0)
NAME = "tat_test_2026_1K"


@pytest.fixture
def data(pack_leipzig: Any, lines: list[str]) -> bytes:
    return bytes(pack_leipzig(lines))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / f"{NAME}.tar.gz"


def fetch(server: Any, target: Path, **options: Any) -> None:
    download(f"{server.url}/{NAME}.tar.gz", target, pauses=NO_PAUSE, **options)


def ranges(server: Any) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_brings_the_bytes_as_they_are(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data)
    fetch(server, target)
    assert target.read_bytes() == data
    assert left_in(target.parent) == [target.name]
    # A server that packs the answer once more would give other bytes.
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_goes_on_after_a_broken_connection(
    server: Any, target: Path, data: bytes, capfd: Any
) -> None:
    server.put(NAME, data, breaks=[1000, 500])
    fetch(server, target)
    assert target.read_bytes() == data
    assert ranges(server) == [None, "bytes=1000-", "bytes=1500-"]
    assert server.requests[1]["If-Range"] == '"one"'
    retries = [line for line in capfd.readouterr().out.splitlines() if "try" in line]
    assert len(retries) == 2


def test_five_tries_then_the_part_is_kept_for_the_next_run(
    server: Any, target: Path, data: bytes
) -> None:
    server.put(NAME, data, breaks=[100] * 5)
    with pytest.raises(DownloadError, match=r"500 bytes are kept.*same command goes on") as error:
        fetch(server, target)
    assert not isinstance(error.value, NotAvailable)
    assert len(server.requests) == 5
    assert not target.exists()
    fetch(server, target)
    assert target.read_bytes() == data
    assert ranges(server)[-1] == "bytes=500-"


def test_starts_anew_where_the_file_has_changed(server: Any, target: Path, data: bytes) -> None:
    shelf = server.put(NAME, data, breaks=[1000])
    other = data[:50] + bytes(len(data) - 50)

    def replace() -> None:
        shelf.data, shelf.etag = other, '"two"'

    shelf.after = replace
    fetch(server, target)
    assert target.read_bytes() == other


def test_starts_anew_where_the_length_has_changed_and_there_is_no_etag(
    server: Any, target: Path, data: bytes
) -> None:
    shelf = server.put(NAME, data, breaks=[1000], etag="")
    other = data[:50] + bytes(len(data))

    def replace() -> None:
        shelf.data = other

    shelf.after = replace
    fetch(server, target)
    assert target.read_bytes() == other


def test_a_server_without_ranges(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, ranges=False, breaks=[1000])
    fetch(server, target)
    assert target.read_bytes() == data


def test_a_part_of_another_address_is_not_joined(server: Any, target: Path, data: bytes) -> None:
    target.parent.mkdir()
    part = target.with_name(target.name + ".part")
    part.write_bytes(b"\x1f\x8b" + b"x" * 500)
    note = {"url": "http://elsewhere.org/x.tar.gz", "validator": '"one"', "bytes": len(data)}
    part.with_name(part.name + ".json").write_text(json.dumps(note), encoding="utf-8")
    server.put(NAME, data)
    fetch(server, target)
    assert target.read_bytes() == data
    assert ranges(server) == [None]


def test_a_part_longer_than_the_file(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, breaks=[1000] * 5)
    with pytest.raises(DownloadError):
        fetch(server, target)
    target.with_name(target.name + ".part").write_bytes(data + b"more")
    server.shelves.clear()
    server.put(NAME, data)
    fetch(server, target)
    assert target.read_bytes() == data


def test_a_complete_part_needs_no_more_bytes(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, breaks=[1000] * 5)
    with pytest.raises(DownloadError):
        fetch(server, target)
    target.with_name(target.name + ".part").write_bytes(data)
    before = len(server.requests)
    fetch(server, target)
    assert target.read_bytes() == data
    assert len(server.requests) == before


def test_an_error_of_the_server_may_pass(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, statuses=[503, 500, 429])
    fetch(server, target)
    assert target.read_bytes() == data
    assert len(server.requests) == 4


def test_an_error_of_the_server_that_stays(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, statuses=[503] * 9)
    with pytest.raises(NotAvailable, match="503"):
        fetch(server, target)
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [404, 410, 403])
def test_a_missing_archive_is_asked_for_once(
    server: Any, target: Path, data: bytes, status: int
) -> None:
    server.put(NAME, data, statuses=[status] * 9)
    with pytest.raises(NotAvailable, match=str(status)):
        fetch(server, target)
    assert len(server.requests) == 1
    assert left_in(target.parent) == []


@pytest.mark.parametrize("kind", ["text/html", "application/gzip"])
def test_a_web_page_instead_of_the_archive(server: Any, target: Path, kind: str) -> None:
    server.put(NAME, b"<!DOCTYPE html><title>Not here</title>", content_type=kind)
    with pytest.raises(NotAvailable, match="web page"):
        fetch(server, target)
    assert left_in(target.parent) == []


def test_other_bytes_instead_of_the_archive(server: Any, target: Path) -> None:
    server.put(NAME, b"PK\x03\x04 a zip file")
    with pytest.raises(DownloadError, match="not a gzip archive") as error:
        fetch(server, target)
    assert not isinstance(error.value, NotAvailable)


def test_an_empty_answer(server: Any, target: Path) -> None:
    server.put(NAME, b"")
    with pytest.raises(DownloadError, match="sent nothing"):
        fetch(server, target)
    assert not target.exists()


def test_more_is_announced_than_comes(server: Any, target: Path, data: bytes) -> None:
    server.put(NAME, data, announced=len(data) + 10, ranges=False)
    with pytest.raises(DownloadError, match="broke"):
        fetch(server, target)
    assert not target.exists()


def test_nobody_listens(dead_url: str, target: Path) -> None:
    with pytest.raises(NotAvailable, match="refuses the connection"):
        download(f"{dead_url}/{NAME}.tar.gz", target, pauses=NO_PAUSE)


def test_gives_up_after_the_stated_time_without_progress(
    dead_url: str, target: Path, capfd: Any
) -> None:
    with pytest.raises(NotAvailable):
        download(f"{dead_url}/{NAME}.tar.gz", target, pauses=(module.GIVE_UP_AFTER + 1,))
    assert "try" not in capfd.readouterr().out


def test_an_address_that_is_none(target: Path) -> None:
    with pytest.raises(DownloadError, match="base-url"):
        download("http://[half/x.tar.gz", target, pauses=NO_PAUSE)


def test_too_small_a_disk_is_said_with_the_numbers(
    server: Any, target: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 3 * len(data) - 1))
    server.put(NAME, data)
    with pytest.raises(DownloadError, match=r"MB of disk are needed.*MB are free") as error:
        fetch(server, target)
    assert not isinstance(error.value, NotAvailable)
    assert left_in(target.parent) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 3 * len(data)))
    fetch(server, target)


def test_probe(server: Any, data: bytes, dead_url: str) -> None:
    url = f"{server.url}/{NAME}.tar.gz"
    assert "404" in probe(url)
    shelf = server.put(NAME, data)
    assert probe(url) == ""
    shelf.ranges = False
    assert probe(url) == ""
    shelf.data = b"<html>"
    assert "gzip" in probe(url)
    assert "refuses" in probe(f"{dead_url}/x.tar.gz")
    assert len(server.requests) == 4


def test_an_unknown_version_of_a_known_archive_is_told() -> None:
    known = "c5a27c731116c2540a1053b8b9d6cb3a16134f519f0bf7535bca274173d01fc7"
    other = hashlib.sha256(b"").hexdigest()
    assert check_known("tat_mixed_2015_1M", known) == ""
    assert check_known(NAME, other) == ""
    warning = check_known("tat_mixed_2015_1M", other)
    assert warning.startswith("WARNING") and known in warning and other in warning
