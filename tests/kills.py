"""Kill a stage at random moments of its work, again and again, and compare what it makes.

    python -m tests.kills [--stage 1 2 3] [--times 100] [--seed 0] [--input FILE]

Each stage runs once undisturbed. Then it is killed with SIGKILL so many times, each time followed
by the same command; stage 3 goes on with --resume. Two of three kills come at a moment drawn over
the time of its work (not of its start-up), the third as soon as a file is seen being written. After
a kill everything that bears its name must be whole; whenever the work is done, all must be as the
undisturbed run left it, to the last bit, but for what the clock says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from config import PROJECT_DIR
from tests.conftest import same

CLOCKS = ("seconds", "tokens_per_second")


@dataclass(frozen=True)
class Stage:
    """A script, the first words of its work, and what it makes."""

    script: str
    begins: str
    makes: tuple[str, ...]
    writes: tuple[str, ...]  # the names of files that take a while to write, while they do

    def command(self, root: Path, flags: tuple[str, ...]) -> list[str]:
        folders = ["--data-dir", root / "data"]
        if self.script != "01_prepare_data":
            folders += ["--tokenizer-dir", root / "tokenizer"]
        if self.script == "03_train":
            folders += ["--out-dir", root / "models"]
            flags = (*flags, "--resume") if (root / "models" / "run.json").exists() else flags
        script = PROJECT_DIR / f"{self.script}.py"
        return [sys.executable, "-u", str(script), *map(str, folders), *flags]


STAGES = {
    1: Stage(
        "01_prepare_data",
        "Stage 1",
        ("data/train.txt", "data/val.txt", "data/manifest.json"),
        ("cleaned.tmp", "train.txt.tmp"),
    ),
    2: Stage(
        "02_train_tokenizer",
        "Stage 2",
        ("tokenizer/tokenizer.json", "tokenizer/config.json"),
        ("tokenizer.json.tmp",),
    ),
    3: Stage(
        "03_train",
        "  guessing",
        ("models/best_model.pt", "models/last.pt", "models/metrics.jsonl", "models/run.json"),
        ("last.pt.tmp", "best_model.pt.tmp"),
    ),
}

# A real preset in many short steps, saved after every third.
TRAINING = (
    *("--preset", "tiny", "--device", "cpu", "--dtype", "float32", "--compile", "off"),
    *("--batch-size", "1", "--max-iters", "120", "--eval-interval", "3"),
)

Moment = float | str  # seconds after the work began, or as soon as a file of this name is written


@dataclass
class Kills:
    """What happened."""

    work: float  # seconds that it takes undisturbed, without start-up
    count: int = 0
    while_writing: Counter[str] = field(default_factory=Counter)  # by the file that was not whole
    steps: list[int] = field(default_factory=list)  # of last.pt after each kill of stage 3
    ends: int = 0  # times that the work was done, and compared
    problems: list[str] = field(default_factory=list)


def kill(number: int, root: Path, times: int, seed: int, *flags: str) -> Kills:
    """Kill stage `number` in `root`, a folder with what it reads, and see what is left."""
    stage = STAGES[number]
    untouched, undisturbed = root.with_name("untouched"), root.with_name("undisturbed")
    shutil.copytree(root, untouched)
    shutil.copytree(root, undisturbed)
    work, _ = run(stage, undisturbed, flags)
    expected = {name: content(undisturbed / name) for name in stage.makes}
    # Stage 3 has to be saved now and then, so that it gets on.
    share = 0.1 if number == 3 else 1.0

    def compare(names: list[str], when: str) -> None:
        for name in names:
            if not (root / name).exists():
                kills.problems.append(f"{name} is not there {when}")
            elif not same(content(root / name), expected[name]):
                kills.problems.append(f"{name} differs {when}")

    kills, generator, missed = Kills(work), random.Random(seed), False
    while True:
        moment: Moment = generator.uniform(0, share * work)
        if kills.count % 3 == 0 and not missed:
            moment = stage.writes[kills.count // 3 % len(stage.writes)]
        earlier = files_of(root)
        _, killed = run(stage, root, flags, moment if kills.count < times else None)
        missed = isinstance(moment, str) and not killed
        if killed:
            kills.count += 1
            unfinished = {p.name for p in files_of(root) - earlier if p.name.endswith(".tmp")}
            kills.while_writing.update(unfinished)
            when = f"after kill {kills.count}, at {moment}"
            there = [name for name in stage.makes if (root / name).exists()]
            if number == 3:
                kills.steps.append(read_all(root, there, when, kills.problems))
            else:
                compare(there, when)
            continue
        kills.ends += 1
        compare(list(stage.makes), f"when the work was done after {kills.count} kills")
        if kills.count == times:
            return kills
        shutil.rmtree(root)
        shutil.copytree(untouched, root)


def run(
    stage: Stage, root: Path, flags: tuple[str, ...], until: Moment | None = None
) -> tuple[float, bool]:
    """Run a stage to its end or until a moment; its seconds, and whether it was killed."""
    # One thread: no sum depends on how busy the machine is.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    with subprocess.Popen(
        stage.command(root, flags),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.startswith(stage.begins):
                break
        rest = threading.Thread(target=lambda: printed.extend(process.stdout or ()))
        rest.start()
        began, earlier = time.perf_counter(), files_of(root)
        while until is not None and process.poll() is None:
            if isinstance(until, float):
                is_time = time.perf_counter() - began >= until
            else:
                is_time = any(file.name == until for file in files_of(root) - earlier)
            if is_time:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.001)
        process.wait()
        rest.join()
    if process.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"exit code {process.returncode}:\n{''.join(printed)}")
    return time.perf_counter() - began, process.returncode != 0


class File(NamedTuple):
    name: str
    size: int
    modified: int


def files_of(root: Path) -> set[File]:
    """The files below a folder, as they are at this moment."""
    files = set()
    for path in root.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
            status = path.stat()
            files.add(File(path.name, status.st_size, status.st_mtime_ns))
    return files


def read_all(root: Path, names: list[str], when: str, problems: list[str]) -> int:
    """Read what stage 3 left; the step of last.pt, 0 where there is none."""
    step = 0
    for name in names:
        # A line of metrics.jsonl that was being added may be cut short: --resume drops it.
        if name.endswith(".jsonl"):
            continue
        try:
            held = content(root / name)
        except Exception as error:  # whatever a damaged file raises
            problems.append(f"{name} is damaged {when}: {error!r}")
            continue
        step = held["step"] if name.endswith("last.pt") else step
    return step


def content(path: Path) -> Any:
    """What a file holds, without what the clock says."""
    if path.suffix == ".pt":
        held = torch.load(path, weights_only=True)
        held.get("state", {}).pop("seconds", None)
        return held
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]
    if path.name == "run.json":
        record = json.loads(text)
        record.get("result", {}).pop("seconds", None)
        return record
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", type=int, nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=Path, help="a text instead of the built-in corpus")
    asked = parser.parse_args()
    text = ("--input", str(asked.input.absolute())) if asked.input else ("--sample",)
    flags: dict[int, tuple[str, ...]] = {1: text, 2: (), 3: TRAINING}
    problems = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in asked.stage:
            root = Path(folder) / f"stage {number}" / "work"
            root.mkdir(parents=True)
            for earlier in range(1, number):
                run(STAGES[earlier], root, flags[earlier])
            kills = kill(number, root, asked.times, asked.seed, *flags[number])
            print(
                f"stage {number}: {kills.count} kills within work of {kills.work:.2f} s; "
                f"{kills.while_writing.total()} while writing {dict(kills.while_writing)}; "
                f"done and compared {kills.ends} times; {len(kills.problems)} problems",
                flush=True,
            )
            if kills.steps:
                print(f"  step of last.pt after each kill: {kills.steps}")
            for problem in kills.problems:
                print(f"  {problem}")
            problems += len(kills.problems)
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
