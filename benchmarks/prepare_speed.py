"""Seconds and peak memory of stage 1 on a synthetic million lines.

    python -m benchmarks.prepare_speed [--lines N] [--json FILE]

The lines are random words of the built-in sample, about 200 bytes each, with the noise of web
text among them: Russian, HTML entities, mixed alphabets, duplicates, crumbs. They come as a
Leipzig-shaped .tar.gz, so reading the archive is part of the time. Stage 1 runs in a child
process of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from config import PROJECT_DIR, SAMPLE_DIR

SEED = 1337
WORDS_PER_LINE = 14
NOISE = (
    "В Казани завершился ремонт моста через реку, движение откроют в пятницу вечером.",
    "Бу &quot;кызык&quot; хәл &amp; башка нәрсәләр турында язылган зур мәкалә иде.",
    "Татаpстан шәhәрлəрендә яңа мәктәпләр ачылды\u200b, дип хәбәр итәләр.",
    "Был ҡала тураһында башҡортса яҙылған һөйләм, уны ҡалдырырға кәрәк.",
    "12345 67890 +++ --- 3.14 2.71 *** 100 200 300",
    "Tatar tele latin elifbasinda yazilgan cemle.",
    "   Артык   күп   буш   урын   куелган җөмлә дә була.   ",
)


def write_corpus(path: Path, n_lines: int) -> int:
    """A Leipzig archive of `n_lines` lines. Returns the bytes of its sentences."""
    rng = random.Random(SEED)  # noqa: S311
    text = " ".join(file.read_text(encoding="utf-8") for file in sorted(SAMPLE_DIR.glob("*.txt")))
    words = text.split()
    with tempfile.TemporaryFile(dir=path.parent) as body:
        previous = ""
        for number in range(1, n_lines + 1):
            draw = rng.random()
            if draw < 0.03:
                line = rng.choice(NOISE)
            elif draw < 0.05 and previous:
                line = previous
            else:
                line = " ".join(rng.choices(words, k=rng.randint(5, 2 * WORDS_PER_LINE))) + "."
            previous = line
            body.write(f"{number}\t{line}\n".encode())
        size = body.tell()
        body.seek(0)
        with tarfile.open(path, "w:gz", compresslevel=6) as archive:
            name = path.name.removesuffix(".tar.gz")
            member = tarfile.TarInfo(f"{name}/{name}-sentences.txt")
            member.size = size
            archive.addfile(member, body)
            words_member = tarfile.TarInfo(f"{name}/{name}-words.txt")
            archive.addfile(words_member, io.BytesIO())
    return size


def measure(n_lines: int) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "synthetic.tar.gz"
        size = write_corpus(corpus, n_lines)
        script = str(PROJECT_DIR / "01_prepare_data.py")
        data_dir = str(Path(folder) / "data")
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, script, "--input", str(corpus), "--data-dir", data_dir], check=True
        )
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return {
        "lines": n_lines,
        "megabytes_of_text": round(size / 1e6, 1),
        "seconds": round(seconds, 1),
        "lines_per_second": round(n_lines / seconds),
        "peak_memory_megabytes": round(megabytes, 1),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args(argv)
    figures = measure(arguments.lines)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<26}{value:>14,}")
    if arguments.json:
        text = json.dumps(figures, indent=2, sort_keys=True) + "\n"
        arguments.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
