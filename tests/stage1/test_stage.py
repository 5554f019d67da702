"""Stage 1 as a person runs it: what it writes, when it skips, and how it fails."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT_DIR, SAMPLE_DIR
from pipeline import corpus

NAME = "tat_test_2026_1K"
Stage = Callable[..., Any]


def manifest(data: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    return value


def written(data: Path) -> list[str]:
    """All sentences in data/, in no particular order."""
    return sorted(
        line
        for name in ("train.txt", "val.txt")
        for line in (data / name).read_text(encoding="utf-8").splitlines()
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def text(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "my_text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_sample_is_kept_line_by_line(stage1: Stage, data: Path) -> None:
    outcome = stage1("--sample", "--data-dir", data)
    assert outcome.code == 0
    lines = [
        line
        for path in SAMPLE_DIR.glob("*.txt")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]
    assert written(data) == sorted(lines)
    found = manifest(data)
    assert found["built_in_sample"] is True
    assert found["corpus"] == "built-in sample"
    assert found["fallback"] is None
    assert {source["licence"] for source in found["sources"]} == {"CC0 1.0"}
    assert "built-in sample" in outcome.out
    assert {p.name for p in data.iterdir()} == {"train.txt", "val.txt", "manifest.json"}


def test_a_download_from_end_to_end(
    stage1: Stage, data: Path, server: Any, pack_leipzig: Any, lines: list[str]
) -> None:
    noise = ["В этом доме жил известный поэт.", "Ә?", lines[0], "  " + lines[1], "<b>", ""]
    archive = pack_leipzig([*lines, *noise, "буш &amp; урын бар"])
    server.put(NAME, archive)
    outcome = stage1("--corpora", NAME, "--base-url", server.url + "/", "--data-dir", data)
    assert outcome.code == 0
    assert written(data) == sorted([*lines, "буш & урын бар"])
    found = manifest(data)
    assert found["lines"]["read"] == 307
    assert found["lines"]["kept"] == 301
    assert found["lines"]["dropped"] == {"Russian": 1, "too short": 2, "duplicate": 2, "empty": 1}
    assert found["lines"]["repaired"] == {"html entities": 1, "spaces": 1}
    assert found["lines"]["train"] + found["lines"]["val"] == 301
    assert found["sources"] == [
        {
            "name": NAME,
            "url": f"{server.url}/{NAME}.tar.gz",
            "sha256": hashlib.sha256(archive).hexdigest(),
            "bytes": len(archive),
            "licence": "CC BY 4.0, Leipzig Corpora Collection",
        }
    ]
    characters = sum(map(len, written(data)))
    assert sum(found["characters"].values()) == characters
    assert found["val_fraction"] == 0.05
    for name in ("train.txt", "val.txt"):
        assert found["sha256"][name] == hashlib.sha256((data / name).read_bytes()).hexdigest()
    for words in ("lines read", "307", "dropped: Russian", f"{characters:,}", "Tatar letters"):
        assert words in outcome.out
    assert (data / "downloads" / f"{NAME}.tar.gz").read_bytes() == archive


def test_an_archive_on_disk_is_used_without_a_request(
    stage1: Stage, data: Path, server: Any, pack_leipzig: Any, lines: list[str]
) -> None:
    server.put(NAME, pack_leipzig(lines))
    arguments = ("--corpora", NAME, "--base-url", server.url, "--data-dir", data)
    assert stage1(*arguments).code == 0
    assert stage1(*arguments, "--force").code == 0
    assert len(server.requests) == 1
    # ... and one that was deleted to save space does not come again.
    (data / "downloads" / f"{NAME}.tar.gz").unlink()
    assert "nothing has changed" in stage1(*arguments).out
    assert len(server.requests) == 1
    assert stage1(*arguments, "--language", "any").code == 0
    assert len(server.requests) == 2


def test_the_server_can_come_from_the_environment(
    stage1: Stage,
    data: Path,
    server: Any,
    pack_leipzig: Any,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.put(NAME, pack_leipzig(lines))
    monkeypatch.setenv("LEIPZIG_BASE_URL", server.url)
    assert stage1("--corpora", NAME, "--data-dir", data).code == 0


def test_several_corpora_and_the_same_line_in_both(
    stage1: Stage, data: Path, server: Any, pack_leipzig: Any, lines: list[str]
) -> None:
    server.put(NAME, pack_leipzig(lines[:200]))
    server.put("tat_other", pack_leipzig(lines[100:], "tat_other"))
    outcome = stage1(
        "--corpora", NAME, "tat_other", NAME, "--base-url", server.url, "--data-dir", data
    )
    assert outcome.code == 0
    assert written(data) == sorted(lines)
    assert manifest(data)["corpus"] == f"{NAME} + tat_other"
    assert manifest(data)["lines"]["dropped"] == {"duplicate": 100}


def test_own_texts_of_each_kind(
    stage1: Stage, data: Path, tmp_path: Path, lines: list[str], pack_leipzig: Any
) -> None:
    (tmp_path / "a.txt").write_text("\ufeff" + " ".join(lines[:100]), encoding="utf-8", newline="")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\r\n".join(lines[100:200]).encode()))
    (tmp_path / "c.tgz").write_bytes(pack_leipzig(lines[200:]))
    files = [tmp_path / name for name in ("a.txt", "b.txt.gz", "c.tgz")]
    assert stage1("--input", *files, "--data-dir", data).code == 0
    assert written(data) == sorted(lines)
    assert manifest(data)["corpus"] == "a.txt + b.txt.gz + c.tgz"
    assert manifest(data)["lines"]["dropped"] == {}


def test_skips_what_has_not_changed(
    stage1: Stage, data: Path, text: Path, folder_state: Any
) -> None:
    arguments = ("--input", text, "--data-dir", data)
    assert stage1(*arguments).code == 0
    before = folder_state(data)
    times = {p.name: p.stat().st_mtime_ns for p in data.iterdir()}
    again = stage1(*arguments)
    assert again.code == 0
    assert again.out.splitlines() == [
        f"Stage 1: nothing has changed, {data} is kept (--force makes it anew)"
    ]
    assert times == {p.name: p.stat().st_mtime_ns for p in data.iterdir()}
    forced = stage1(*arguments, "--force")
    assert "lines read" in forced.out
    assert folder_state(data) == before  # the same input gives the same bytes
    assert times != {p.name: p.stat().st_mtime_ns for p in data.iterdir()}


@pytest.mark.parametrize("change", ["text", "language", "fraction", "train", "val", "manifest"])
def test_redoes_what_has_changed(stage1: Stage, data: Path, text: Path, change: str) -> None:
    arguments = ["--input", text, "--data-dir", data]
    assert stage1(*arguments).code == 0
    if change == "text":
        text.write_text(text.read_text(encoding="utf-8") + "Тагын бер җөмлә.\n", encoding="utf-8")
    elif change == "language":
        arguments += ["--language", "any"]
    elif change == "fraction":
        arguments += ["--val-fraction", "0.2"]
    elif change == "manifest":
        (data / "manifest.json").write_text("{", encoding="utf-8")
    else:
        with (data / f"{change}.txt").open("a", encoding="utf-8") as file:
            file.write("x\n")
    assert "lines read" in stage1(*arguments).out
    assert "nothing has changed" in stage1(*arguments).out
    assert "x" not in written(data)


def test_the_cleaning_code_is_part_of_what_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = corpus.corpus_key(["a"], "tt", None)
    assert corpus.corpus_key(["a"], "tt", None) == before
    for name in ("archive", "clean", "corpus", "language"):
        (tmp_path / f"{name}.py").write_text("# another\n", encoding="utf-8")
    monkeypatch.setattr(corpus, "__file__", str(tmp_path / "corpus.py"))
    assert corpus.corpus_key(["a"], "tt", None) != before


def test_the_default_fraction_follows_the_size(
    stage1: Stage, data: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "SMALL_CORPUS", 300)
    monkeypatch.setattr(corpus, "VAL_FRACTION", 0.25)
    assert stage1("--input", text, "--data-dir", data).code == 0
    assert manifest(data)["val_fraction"] == 0.25


def test_examples(stage1: Stage, data: Path, tmp_path: Path, lines: list[str]) -> None:
    text = tmp_path / "a.txt"
    text.write_text("\n".join([*lines, "В этом доме жил поэт."]), encoding="utf-8")
    arguments = ("--input", text, "--data-dir", data, "--show-examples")
    first = stage1(*arguments).out
    kept = [line.strip() for line in first.splitlines() if line.strip() in lines]
    assert len(kept) == 10
    assert "[Russian] В этом доме жил поэт." in first
    assert stage1(*arguments).out == first


def test_damaged_lines_are_counted(
    stage1: Stage, data: Path, tmp_path: Path, lines: list[str]
) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes("\n".join(lines).encode() + b"\n\xd2\xff\xfe\n")
    assert stage1("--input", text, "--data-dir", data).code == 0
    assert manifest(data)["lines"]["dropped"] == {"invalid UTF-8": 1}
    assert written(data) == sorted(lines)


def test_a_crash_between_the_two_renames_is_noticed(
    stage1: Stage, data: Path, text: Path, tmp_path: Path
) -> None:
    assert stage1("--sample", "--data-dir", data).code == 0
    other = tmp_path / "other"
    assert stage1("--input", text, "--data-dir", other).code == 0
    (other / "train.txt").replace(data / "train.txt")
    assert "lines read" in stage1("--sample", "--data-dir", data).out


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
def test_ctrl_c_leaves_nothing_half(
    stage1: Stage, data: Path, tmp_path: Path, folder_state: Any
) -> None:
    assert stage1("--sample", "--data-dir", data).code == 0
    before = folder_state(data)
    pipe = tmp_path / "endless.txt"
    os.mkfifo(pipe)
    # main() refuses what is no regular file; the library reads it, and waits for more.
    code = (
        "import sys; from pathlib import Path; from pipeline.command import command;"
        "from pipeline.corpus import Source, prepare;"
        "sys.exit(command(lambda argv: prepare([Source('x', Path(argv[0]), '')],"
        "Path(argv[1]), corpus='x'))(sys.argv[1:]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(pipe), str(data)],
        cwd=PROJECT_DIR,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w", encoding="utf-8") as writer:  # returns once the child has opened it
        assert (data / "cleaned.tmp").exists()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
        del writer
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert folder_state(data) == before


def test_as_a_script_in_a_plain_locale(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, PROJECT_DIR / "01_prepare_data.py", "--sample", "--data-dir", "мәгълүмат"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert "Tatar letters (ә ө ү җ ң һ)" in done.stdout.decode("utf-8")
    assert done.stderr == b""
    assert (tmp_path / "мәгълүмат" / "manifest.json").exists()
