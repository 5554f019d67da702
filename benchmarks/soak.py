"""Many programs ask one server at once for a while: is any request lost, does memory grow?

    python -m benchmarks.soak [--seconds 300] [--clients 32] [--model FILE] [--tokenizer DIR]

Starts app.py on a free port. Each client asks over plain HTTP for text after text, 40 tokens each;
every tenth request is one that must be refused. Exit code 1 if an answer was lost: neither a text,
nor "busy", nor the refusal.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import requests

from config import PROJECT_DIR, REFERENCE_PROMPTS
from pipeline.files import write_json

NEW_TOKENS = 40
TOO_MANY = 10**6


def ask(url: str, prompt: str, new_tokens: int) -> str:
    """ "answered", "busy" or "refused". Raises whatever else happens."""
    call = f"{url}/gradio_api/call/v2/generate"
    body = {"prompt": prompt, "max_new_tokens": new_tokens, "stop_at_eos": False}
    event = requests.post(call, json=body, timeout=300).json()["event_id"]
    answer = requests.get(f"{call}/{event}", timeout=300).content.decode()
    *_, kind, data = answer.strip().split("\n")
    said = json.loads(data.removeprefix("data: "))
    if kind == "event: complete" and said[0].startswith(prompt):
        return "answered"
    if "Too many people" in said["error"]:
        return "busy"
    if new_tokens == TOO_MANY and "at most" in said["error"]:
        return "refused"
    raise ValueError(said)


def memory_of(process: subprocess.Popen[str]) -> float:
    """Resident megabytes; 0 where the system does not tell as Linux does."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    # A process that has died has no memory.
    return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else 0.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--model", default="models/best_model.pt", metavar="FILE")
    parser.add_argument("--tokenizer", default="tokenizer", metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, str(PROJECT_DIR / "app.py"), "--port", str(port)]
    command += ["--model", args.model, "--tokenizer", args.tokenizer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server:
        try:
            assert server.stdout is not None
            if not server.stdout.readline():
                return 2  # app.py has said why
            result = soak(f"http://127.0.0.1:{port}", server, args.clients, args.seconds)
        finally:
            server.kill()
    for name, value in result.items():
        print(f"{name.replace('_', ' '):<24} {value}")
    if args.json:
        write_json(args.json, result | {"cpus": os.cpu_count()})
    return 1 if result["lost"] else 0


def soak(url: str, server: subprocess.Popen[str], clients: int, seconds: int) -> dict[str, object]:
    """What became of the requests, and how much memory the server held."""
    end = time.monotonic() + seconds
    count: Counter[str] = Counter()
    waits: list[float] = []
    lost: list[str] = []
    lock = threading.Lock()

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            turn += 1
            started = time.monotonic()
            prompt = REFERENCE_PROMPTS[turn % len(REFERENCE_PROMPTS)]
            try:
                became = ask(url, prompt, NEW_TOKENS if turn % 10 else TOO_MANY)
            except Exception as error:  # whatever it is, a visitor got no answer
                became = "lost"
                time.sleep(1)
                lost.append(repr(error))
            with lock:
                count[became] += 1
                if became == "answered":
                    waits.append(time.monotonic() - started)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    megabytes = []
    while any(thread.is_alive() for thread in threads):
        megabytes.append(memory_of(server))
        next((thread for thread in threads if thread.is_alive()), threads[0]).join(1)
    for error in lost[:5]:
        print(f"lost: {error}", file=sys.stderr)
    steady = megabytes[len(megabytes) // 5 :] or [0.0]  # the first fifth fills buffers
    waits.sort()
    return {
        "clients": clients,
        "seconds": seconds,
        "answered": count["answered"],
        "busy": count["busy"],
        "refused": count["refused"],
        "lost": count["lost"],
        "median_wait_seconds": round(waits[len(waits) // 2], 2) if waits else None,
        "longest_wait_seconds": round(waits[-1], 2) if waits else None,
        "memory_MB_first": round(steady[0], 1),
        "memory_MB_last": round(steady[-1], 1),
        "memory_growth_percent": round(100 * (steady[-1] / max(steady[0], 1e-9) - 1), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
