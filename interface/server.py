"""The web server: the page, the API, and a word on its health."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from interface.page import appearance, build_page
from interface.service import Service


def serve(
    model_path: Path,
    tokenizer_dir: Path,
    *,
    host: str,
    port: int,
    share: bool,
    auth: tuple[str, str] | None,
) -> None:
    """Open the model and serve it until interrupted."""
    service = Service(model_path, tokenizer_dir)
    page = build_page(service)
    # The service keeps its own line: Gradio's lets everyone through to it.
    page.queue(max_size=None)
    places = service.limits.at_once + service.limits.waiting
    app, _, _ = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        auth=auth,
        max_threads=2 * places + 8,
        prevent_thread_lock=True,
        run_history=False,
        footer_links=["api"],
        ssr_mode=False,
        **appearance(),
    )

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        return {
            "model": str(model_path),
            "step": service.model.card.get("step"),
            "device": str(service.model.embedding.weight.device),
            "uptime": round(time.time() - service.started, 1),
        }

    page.block_thread()
