"""A page in the browser around a trained model.

    python app.py [--model FILE] [--tokenizer DIR] [--host 127.0.0.1] [--port 7860]

Serves this machine alone; nothing is sent anywhere.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

from config import ConfigError
from pipeline.command import DONE, command, share_the_cores
from pipeline.flags import Parser


@command
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description="A page in the browser around a trained model.")
    parser.add_argument("--model", default="models/best_model.pt", metavar="FILE")
    parser.add_argument("--tokenizer", default="tokenizer", metavar="DIR")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", default=os.environ.get("GRADIO_SERVER_PORT", "7860"))
    parser.add_argument("--share", action="store_true", help="a public address, through Gradio")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask visitors for these")
    args = parser.parse_args(argv)
    if not re.fullmatch("[0-9]{1,5}", args.port) or not 0 < int(args.port) < 65_536:
        parser.error(f"--port {args.port}: must be a whole number from 1 to 65535")
    host = args.host.strip("[]")
    check_address(host, int(args.port))
    user, colon, password = (args.auth or "").partition(":")
    if args.auth is not None and not (user and colon and password):
        parser.error("--auth: must be USER:PASSWORD")

    share_the_cores()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    if not args.share:  # no program of ours asks the network: Gradio asks this machine, of itself
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ.pop(name, None)
            os.environ.pop(name.upper(), None)
    os.environ["no_proxy"] = f"localhost,127.0.0.1,{host}"
    from interface.server import serve  # slow: torch, gradio

    serve(
        Path(args.model),
        Path(args.tokenizer),
        host=f"[{host}]" if ":" in host else host,
        port=int(args.port),
        share=args.share,
        auth=(user, password) if args.auth else None,
    )
    return DONE


def check_address(host: str, port: int) -> None:
    """Raise ConfigError if nothing can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError, TypeError) as error:
        reason = (getattr(error, "strerror", None) or "no such address").split(" (")[0]
        problem = f"--host {host} --port {port}: {reason}. Give another port or host"
        raise ConfigError([problem]) from None


if __name__ == "__main__":
    sys.exit(main())
