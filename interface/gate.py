"""What reaches Gradio: the paths that this page and its API use, and data without files.

Gradio downloads any address that a request names as a file, keeps what is uploaded, and serves what
it kept. Nothing here takes or gives files.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1_000_000
PAGE = ("/", "/config", "/healthz", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json")
API = (
    "cancel",
    "reset",
    "info",
    "openapi.json",
    "startup-events",
    "theme.css",
    "user",
    "login_check",
    "token",
)
OPEN = {*PAGE, "/login", "/logout", *(f"/gradio_api/{name}" for name in API)}
OPEN_BELOW = (
    *("/assets/", "/static/", "/svelte/", "/pwa_icon"),
    *("/gradio_api/call/", "/gradio_api/queue/", "/gradio_api/heartbeat/", "/gradio_api/app_id"),
)


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        is_open = path.rstrip("/") in OPEN or path in OPEN or path.startswith(OPEN_BELOW)
        # Other pages and stored states are Gradio's, not ours.
        asked = QueryParams(scope["query_string"]).keys()
        if not is_open or {"page", "deep_link"} & asked:
            await refusal(404, "there is nothing here")(scope, receive, send)
            return
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MOST_BYTES:
                    await refusal(413, f"at most {MOST_BYTES} bytes")(scope, receive, send)
                    return
            if path.startswith("/gradio_api/") and not is_plain(body):
                await refusal(400, "must be JSON without files")(scope, receive, send)
                return

        is_read = scope["method"] != "POST"

        async def replay() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self.app(scope, replay, send)
        except (KeyError, TypeError, ValueError) as error:
            # An endpoint or an argument that does not exist; the answer comes in one piece.
            if scope["method"] != "POST" or not path.startswith("/gradio_api/call/"):
                raise
            await refusal(400, f"{type(error).__name__}: {error}"[:200])(scope, receive, send)


def refusal(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)


def is_plain(body: bytes) -> bool:
    """Whether this is JSON in which nothing claims to be a file."""
    try:
        values: list[Any] = [json.loads(body)] if body else []
    except (ValueError, RecursionError):
        return False
    while values:
        value = values.pop()
        if isinstance(value, dict):
            if "gradio.FileData" in (value.get("_type"), value.get("__type__")):
                return False
            values += value.values()
        elif isinstance(value, list):
            values += value
    return True
