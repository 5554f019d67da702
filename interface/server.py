"""The web server: the page, the API, and a word on its health."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from interface.gate import Gate
from interface.limits import Limits
from interface.page import appearance, build_page
from interface.service import Service


def serve(
    model_path: Path,
    tokenizer_dir: Path,
    *,
    host: str,
    port: int,
    share: bool = False,
    auth: tuple[str, str] | None = None,
    limits: Limits | None = None,
) -> None:
    """Open the model and serve it until interrupted. Raises what `load_model` raises."""
    service = Service(model_path, tokenizer_dir, limits or Limits())
    page = build_page(service)
    # The service keeps its own line: Gradio's lets everyone through to it.
    page.queue(max_size=None)
    app, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        auth=auth,
        max_threads=2 * service.line.longest + 8,
        prevent_thread_lock=True,
        quiet=True,
        # What Gradio keeps of a visitor is some 100 KB, and every call of the API is one.
        state_session_capacity=4 * service.line.longest,
        run_history=False,
        enable_monitoring=False,
        app_kwargs={"middleware": [Middleware(Gate)]},
        footer_links=[],
        ssr_mode=False,
        **appearance(),
    )

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        return {
            "model": str(model_path),
            "step": service.model.card.get("step"),
            "device": str(service.model.embedding.weight.device),
            "in_line": len(service.line),
            "uptime": round(time.time() - service.started, 1),
        }

    try:
        print(f"Open {public or local} in a browser. Ctrl+C ends it.", flush=True)
        threading.Event().wait()
    finally:
        page.close(verbose=False)
