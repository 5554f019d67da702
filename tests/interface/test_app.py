"""app.py as it is started."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect

from interface.texts import say


@pytest.fixture
def start(script_command: Any, trained: Any, child_environment: dict[str, str]) -> Any:
    """Starts app.py; yields the process when it says where it is to be found."""

    @contextlib.contextmanager
    def started(
        *flags: object, model: Path | None = None, **environment: str
    ) -> Iterator[tuple[subprocess.Popen[str], str]]:
        command = script_command(
            "app", "--model", model or trained.models / "best_model.pt",
            "--tokenizer", trained.tokenizer, *flags,
        )  # fmt: skip
        with subprocess.Popen(
            command,
            env=child_environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            try:
                assert process.stdout is not None
                yield process, process.stdout.readline()
            finally:
                process.kill()

    return started


@pytest.fixture
def fails(script_command: Any, child_environment: dict[str, str]) -> Any:
    def failing(*flags: object, **environment: str) -> str:
        done = subprocess.run(
            script_command("app", *flags),
            env=child_environment | environment,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        return line

    return failing


def test_it_is_found_on_this_machine_alone_and_ends_with_ctrl_c(start: Any, free_port: Any) -> None:
    port = free_port()
    with start("--port", port) as (process, said):
        assert f"http://127.0.0.1:{port}" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
            assert json.load(answer)["device"] == "cpu"
        listening = Path("/proc/net/tcp")
        if listening.exists():
            lines = listening.read_text().splitlines()
            assert [line.split()[1] for line in lines if line.split()[3] == "0A"].count(
                f"0100007F:{port:04X}"
            ) == 1
            assert not [line for line in lines if line.split()[1] == f"00000000:{port:04X}"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in out + err


def test_host_and_port_come_from_the_environment_too(start: Any, free_port: Any) -> None:
    port = free_port()
    with start(GRADIO_SERVER_PORT=str(port), GRADIO_SERVER_NAME="127.0.0.1") as (_, said):
        assert f"http://127.0.0.1:{port}" in said


def test_a_proxy_that_cannot_be_used_is_no_hindrance(start: Any, free_port: Any) -> None:
    for name, value in (("http_proxy", "nonsense"), ("ALL_PROXY", "socks5://127.0.0.1:9")):
        with start("--port", free_port(), **{name: value}) as (_, said):
            assert "127.0.0.1" in said


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_ipv6(start: Any, free_port: Any) -> None:
    for host in ("::1", "[::1]"):
        port = free_port()
        with (
            start("--host", host, "--port", port) as (_, said),
            urllib.request.urlopen(f"http://[::1]:{port}/healthz", timeout=60) as answer,
        ):
            assert "[::1]" in said
            assert answer.status == 200


HOSTILE_CARDS: list[dict[str, Any]] = [
    {"sentences": 10**400, "characters": -(10**30), "recipe": {"tokens_per_step": 10**400}},
    {"corpus": "\ud800", "licence": ["a"] * 5, "preset": {"a": {"b": 1}}},
    {"corpus": "<img src=x onerror=window.broken=1> | [а](http://nowhere.invalid) `x` **б**"},
    {"recipe": {"learning_rate": float("nan"), "optimizer": None}, "licence": "а" * 10_000},
]


@pytest.mark.parametrize("card", HOSTILE_CARDS)
def test_a_hostile_card_and_curve_are_shown_as_text_or_not_at_all(
    card: dict[str, Any], start: Any, free_port: Any, visit: Any, trained: Any, tmp_path: Path
) -> None:
    content = torch.load(trained.models / "best_model.pt", weights_only=True)
    content["card"] |= card
    torch.save(content, tmp_path / "best_model.pt")
    lines = ["[" * 100_000, '{"step": 1e400}', '{"step": "\\ud800", "val_loss": 1}', '{"step": 1']
    good = {"step": 5, "train_loss": 1.5, "val_loss": None}
    text = "\n".join([json.dumps(good), *lines])
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    with start("--port", free_port(), model=tmp_path / "best_model.pt") as (_, said):
        page = visit(said.split()[1].rstrip("/"))
        page.get_by_role("tab", name=say("tab_about", "tt")).click()
        expect(page.locator("#card")).to_contain_text(say("about_parameters", "tt"))
        expect(page.locator("#card img, #card a, #card strong")).to_have_count(0)
        assert page.evaluate("window.broken") is None
        page.close()


def test_nothing_is_asked_of_any_other_machine(start: Any, free_port: Any) -> None:
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.requestline)
            self.send_error(502)

        do_CONNECT = do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{proxy.server_port}"
    everything = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), url)
    try:
        with start("--port", free_port(), **everything, no_proxy="127.0.0.1,localhost") as (
            _,
            said,
        ):
            address = said.split()[1]
            for path in ("", "config", "gradio_api/info"):
                with urllib.request.urlopen(address + path, timeout=60) as answer:
                    assert answer.status == 200
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert asked == []


def test_who_has_no_password_stays_out(start: Any, free_port: Any) -> None:
    with start("--port", free_port(), "--auth", "ayzat:s:ecret") as (_, said):
        address = said.split()[1]
        for path in ("config", "gradio_api/info"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address + path, timeout=60)
            assert refused.value.code == 401
            refused.value.close()
        body = b"username=ayzat&password=s:ecret"
        with urllib.request.urlopen(f"{address}login", body, timeout=60) as answer:
            assert json.load(answer)["success"]


def test_no_model_yet(fails: Any, tmp_path: Path) -> None:
    line = fails("--model", tmp_path / "none.pt")
    assert "bash run_pipeline.sh" in line


def test_mistakes_are_told_in_a_line(fails: Any, trained: Any, tmp_path: Path) -> None:
    assert "65535" in fails("--port", "0")
    assert "65535" in fails("--port", "many")
    assert "USER:PASSWORD" in fails("--auth", "ayzat")
    (tmp_path / "bad.pt").write_bytes(b"no model")
    assert "bad.pt" in fails("--model", tmp_path / "bad.pt", "--tokenizer", trained.tokenizer)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        files = ("--model", trained.models / "best_model.pt", "--tokenizer", trained.tokenizer)
        line = fails("--port", port, *files)
        assert line.endswith(f"--port {port}: Address already in use. Give another port or host")
    for host in ("nowhere.invalid", "ä" * 70, "::1::"):
        assert f"--host {host}" in fails("--host", host, *files)
    for port in ("1" * 5000, "٣٤٥٦٧", "-1", "1.0"):
        assert "65535" in fails("--port", port)


def test_a_new_model_is_offered(
    start: Any, free_port: Any, visit: Any, trained: Any, tmp_path: Path
) -> None:
    path = tmp_path / "best_model.pt"
    shutil.copy(trained.models / "best_model.pt", path)
    with start("--port", free_port(), model=path) as (_, said):
        address = said.split()[1].rstrip("/")
        page = visit(address)
        expect(page.locator("#reload")).to_be_hidden()
        shutil.copy(path, tmp_path / "new.pt")
        (tmp_path / "new.pt").replace(path)
        page.reload()
        expect(page.locator("#reload")).to_be_visible()
        page.locator("#reload").click()
        expect(page.get_by_text(say("reloaded", "tt"))).to_be_visible()
        expect(page.locator("#reload")).to_be_hidden()
        path.write_bytes(b"no model")
        page.reload()
        page.locator("#reload").click()
        expect(page.get_by_text(say("not_reloaded", "tt"))).to_be_visible()
        page.locator("#prompt textarea").fill("Казан")
        page.locator("#go").click()
        expect(page.locator("#text textarea")).not_to_have_value("")
        page.close()
