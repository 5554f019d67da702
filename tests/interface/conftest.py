from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from config import PROJECT_DIR, ModelConfig
from interface.limits import Limits
from interface.service import Service
from tests.conftest import Workspace


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass


@pytest.fixture
def make_service(trained: Any) -> Any:
    def make(**limits: Any) -> Service:
        return Service(trained.models / "best_model.pt", trained.tokenizer, Limits(**limits))

    return make


@dataclass(frozen=True)
class Server:
    """`app.py`'s server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=60) as answer:
            return json.load(answer)

    def wait_until_nobody_is_in_line(self) -> None:
        deadline = time.monotonic() + 60
        while self.health()["in_line"]:
            assert time.monotonic() < deadline, self.health()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(workspace: Workspace, port: int | None = None, **limits: Any) -> Iterator[Server]:
    """A server with this workspace's model, until the block is left."""
    port = port or unused_port()
    code = f"""if True:
        import os, pathlib
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from interface.limits import Limits
        from interface.server import serve
        serve(
            pathlib.Path({str(workspace.models / "best_model.pt")!r}),
            pathlib.Path({str(workspace.tokenizer)!r}),
            host="127.0.0.1", port={port}, limits=Limits(**{limits!r}),
        )"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT_DIR,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout is not None
            assert "Ctrl+C" in process.stdout.readline()
            yield Server(f"http://127.0.0.1:{port}", process)
        finally:
            process.kill()


@pytest.fixture
def free_port() -> Any:
    return unused_port


@pytest.fixture
def serve() -> Any:
    return running


@pytest.fixture(scope="session")
def server(trained: Workspace) -> Iterator[Server]:
    """The model that knows its text, with the limits that users have."""
    with running(trained) as server:
        yield server


@pytest.fixture(scope="session")
def slow_model(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An untrained model of `base`'s shape: its texts are noise, and take their time."""
    from model import GPT
    from pipeline.checkpoint import model_content, save_checkpoint

    workspace = prepared.copy(tmp_path_factory.mktemp("slow") / "run")
    model = GPT(ModelConfig(vocab_size=workspace.vocab_size))
    workspace.models.mkdir()
    content = model_content(model, workspace.tokenizer_facts["sha256"], 1, {})
    save_checkpoint(workspace.models / "best_model.pt", content)
    return workspace


@pytest.fixture(scope="session")
def narrow_server(slow_model: Workspace) -> Iterator[Server]:
    """One text at a time, one visitor may wait, and a text is as long as an hour."""
    limits = {"at_once": 1, "waiting": 1, "new_tokens": 1_000_000, "seconds": 3_600.0}
    with running(slow_model, **limits) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium is installed: what a person does in a browser is not tested")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Opens the page of a server, as visitors with this language and this window see it.

    Afterwards: no error in the browser's console, no request to any other host.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, language: str = "tt-RU", width: int = 1200, **more: Any) -> Page:
        context = browser.new_context(
            locale=language, viewport={"width": width, "height": 850}, **more
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        watch(page, url)
        page.goto(url)
        page.locator("html[data-ready]").wait_for()
        return page

    def watch(page: Page, url: str) -> None:
        def request(request: Request) -> None:
            if not request.url.startswith((url, "data:", "blob:")):
                complaints.append(f"a request to {request.url}")

        def message(message: ConsoleMessage) -> None:
            if message.type == "error":
                complaints.append(message.text)

        page.on("request", request)
        page.on("console", message)
        page.on("pageerror", lambda error: complaints.append(str(error)))

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


TABS = ("tab_write", "tab_compare", "tab_inside", "tab_measure", "tab_about")


def go_to(page: Page, tab: str) -> None:
    label = page.get_by_role("tab", name=tab, exact=True)
    label.click()
    expect(label).to_have_attribute("aria-selected", "true")
    page.locator("[role=tabpanel]:visible").hover()
