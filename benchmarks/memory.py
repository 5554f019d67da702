"""Memory of training on texts of different sizes: it should not grow with the text.

    python -m benchmarks.memory TEXT [--megabytes 10 500] [--preset tiny] [--json FILE]

TEXT, a sentence a line, is repeated up to each size; the tokenizer is trained on it once. What is
measured is the peak of anonymous memory (RssAnon of /proc, so Linux alone): mapped files such as
the token ids are not in it, since the system takes them back when it needs the room.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from config import PROJECT_DIR
from pipeline.files import write_json

MEGABYTE = 1_000_000
STEPS = 20


def repeat(text: Path, megabytes: int, data_dir: Path) -> None:
    """train.txt of so many megabytes and a val.txt, as stage 1 leaves them."""
    content = text.read_bytes()
    with (data_dir / "train.txt").open("wb") as file:
        for _ in range(-(-megabytes * MEGABYTE // len(content))):
            file.write(content)
    lines = content.splitlines(keepends=True)
    (data_dir / "val.txt").write_bytes(b"".join(lines[:500]))


def peak_of(command: list[str]) -> tuple[float, float]:
    """Peak of anonymous memory in megabytes, and seconds, of a command."""
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text(encoding="ascii"))
            peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.01)
    if process.returncode:
        raise SystemExit(process.returncode)
    return peak * 1024 / MEGABYTE, time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 500])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data_dir, tokenizer_dir = Path(folder) / "data", Path(folder) / "tokenizer"
        data_dir.mkdir()
        folders = ["--data-dir", str(data_dir), "--tokenizer-dir", str(tokenizer_dir)]
        for megabytes in asked.megabytes:
            repeat(asked.text, megabytes, data_dir)
            if not tokenizer_dir.is_dir():
                stage2 = [sys.executable, str(PROJECT_DIR / "02_train_tokenizer.py"), *folders]
                subprocess.run(stage2, check=True, stdout=subprocess.DEVNULL)
            command = [sys.executable, str(PROJECT_DIR / "03_train.py"), *folders]
            command += ["--out-dir", str(Path(folder) / "models"), "--preset", asked.preset]
            command += ["--max-iters", str(STEPS), "--compile", "off", "--device", "cpu", "--force"]
            # The first run encodes the text, the second finds its token ids.
            for what in ("encoding and training", "training"):
                peak, seconds = peak_of(command)
                rows.append(
                    {"megabytes": megabytes, "what": what, "peak": peak, "seconds": seconds}
                )
                print(f"{megabytes:>6} MB  {what:<22} {peak:>8,.0f} MB at most  {seconds:>6.0f} s")
    if asked.json is not None:
        write_json(asked.json, {"preset": asked.preset, "steps": STEPS, "runs": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
