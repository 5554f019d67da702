"""All stages one after the other, each a process of its own; run_pipeline.sh calls this.

What is done is skipped and what was interrupted goes on, so the same command can be given again
at any time.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from config import (
    DEFAULT_CORPUS,
    LEIPZIG_LARGEST,
    PROJECT_DIR,
    SAMPLE_NAME,
    Checked,
    CorpusConfig,
    ModelConfig,
    TokenizerConfig,
    TrainConfig,
    flag_name,
)
from pipeline import flags
from pipeline.command import DONE, command
from pipeline.errors import TrainingError
from pipeline.files import read_json, sha256_of, shown


@command
def main(argv: list[str] | None = None) -> int:
    sections: dict[type[Checked], tuple[str, ...] | None] = {
        CorpusConfig: None,
        TokenizerConfig: None,
        TrainConfig: None,
        ModelConfig: ("dropout",),
    }
    given = flags.parse(
        argv, "All stages: corpus, tokenizer, model, a first look.", sections, "run_pipeline.sh"
    )
    out_dir = given.get("out_dir", TrainConfig().out_dir)
    data_dir = given.get("data_dir", TrainConfig().data_dir)
    tokenizer_dir = given.get("tokenizer_dir", TrainConfig().tokenizer_dir)
    begun = not given.get("force") and (out_dir / "run.json").is_file()
    if begun:
        manifest_path = data_dir / "manifest.json"
        manifest = read_json(manifest_path) if manifest_path.is_file() else {}
        refuse_another_text(read_json(out_dir / "run.json"), manifest, given, out_dir)
    elif (out_dir / "best_model.pt").is_file() and not given.get("force"):
        raise TrainingError(
            f"{shown(out_dir / 'best_model.pt')} was trained elsewhere and would be overwritten. "
            "Try it with quick_test.py; overwrite it with --force; or name another folder: "
            "--out-dir DIR"
        )

    corpus = {name: value for name, value in given.items() if name != "fallback_sample"}
    if DEFAULT_CORPUS in corpora_asked_for(given):
        corpus["fallback_sample"] = True
    training = given | {"resume": True} if begun else {"preset": "auto"} | given
    stages = {
        "01_prepare_data.py": flags.as_argv(corpus, CorpusConfig),
        "02_train_tokenizer.py": flags.as_argv(given, TokenizerConfig),
        "03_train.py": flags.as_argv(training, TrainConfig, "dropout"),
        "quick_test.py": [
            *("--model", str(out_dir / "best_model.pt"), "--tokenizer", str(tokenizer_dir)),
            *(("--device", given["device"]) if given.get("device", "auto") != "auto" else ()),
        ],
    }
    costs = []
    for script, arguments in stages.items():
        print(f"\n=== {script} " + "=" * (70 - len(script)))
        code, cost = run_script(script, arguments)
        if code != DONE:
            killed = f" (killed by signal {-code}; out of memory?)" if code < 0 else ""
            without = " without --force" if given.get("force") else ""
            print(
                f"\n{script} did not finish{killed}. The same command{without} goes on from here."
            )
            return code if code > 0 else 128 - code
        costs.append(f"{script} {cost}")
    print_summary(read_json(data_dir / "manifest.json"), read_json(out_dir / "run.json"), out_dir)
    print("  cost         " + "\n               ".join(costs))
    return DONE


def corpora_asked_for(given: dict[str, Any], is_fallback: bool = True) -> tuple[str, ...]:
    """Names of the corpora that these flags may lead to."""
    if given.get("sample"):
        return (SAMPLE_NAME,)
    if files := given.get("input"):
        return (" + ".join(Path(file).name for file in files),)
    if (names := given.get("corpora", (DEFAULT_CORPUS,))) == (DEFAULT_CORPUS,):
        # The sample stands in where there is no server.
        return (DEFAULT_CORPUS, SAMPLE_NAME) if is_fallback else (DEFAULT_CORPUS,)
    return (" + ".join(LEIPZIG_LARGEST if names == ("all",) else names),)


def refuse_another_text(
    run: dict[str, Any], manifest: dict[str, Any], given: dict[str, Any], out_dir: Path
) -> None:
    """Raise TrainingError before the text or the tokenizer of a trained model is replaced.

    A small change that slips through here stage 3 still refuses to train on.
    """
    names = corpora_asked_for(given, bool(manifest.get("fallback")))
    changes = []
    if run.get("corpus") not in names:
        trained_on = run.get("corpus", "something unknown")
        changes.append(f"it was trained on {trained_on}, this command trains on {names[0]}")
    for name in ("language", "val_fraction"):
        if name in given and name in manifest and given[name] != manifest[name]:
            changes.append(f"{flag_name(name)} was {manifest[name]} and is {given[name]}")
    recorded = {source["sha256"] for source in manifest.get("sources", ())}
    for file in map(Path, given.get("input", ()) if not changes else ()):
        if recorded and file.is_file() and sha256_of(file) not in recorded:
            changes.append(f"{shown(file)} has changed")
    if changes:
        raise TrainingError(
            f"{shown(out_dir)}/ holds a model of another text: {'; '.join(changes)}. Replace "
            "corpus, tokenizer and model with --force, or keep all three: --data-dir, "
            "--tokenizer-dir and --out-dir name other folders"
        )


def run_script(script: str, arguments: list[str]) -> tuple[int, str]:
    """Run one stage; its exit code, and its time and memory in words.

    Ctrl-C reaches the stage by itself: it saves and ends, and is waited for. SIGTERM is handed on.
    """
    started = time.monotonic()
    process: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, frame: FrameType | None) -> None:
        if process is not None:
            process.terminate()

    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    before_term = signal.signal(signal.SIGTERM, hand_on)
    try:
        process = subprocess.Popen([sys.executable, str(PROJECT_DIR / script), *arguments])
        if not hasattr(os, "wait4"):
            return process.wait(), f"{time.monotonic() - started:.0f} s"
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, before_term)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    memory = usage.ru_maxrss * unit / 2**20
    return process.returncode, f"{time.monotonic() - started:.0f} s, at most {memory:,.0f} MB"


def print_summary(manifest: dict[str, Any], run: dict[str, Any], out_dir: Path) -> None:
    """What was made, how good it is, where it lies, what to open next."""
    result = run["result"]
    trained_on = run["corpus"]
    print(f"\n=== Done {'=' * 66}")
    for label, value in {
        "corpus": trained_on,
        "text": f"{run['train_tokens']:,} training tokens",
        "preset": f"{run['train']['preset']}, {result['steps']:,} steps",
        "loss": f"{result['val_loss']:.4f} nats a token on the validation split "
        f"(guessing by frequency alone: {result['unigram_loss']:.4f})",
        "perplexity": f"{result['perplexity']:.1f}",
        "bits/byte": f"{result['bits_per_byte']:.3f}",
        "files": f"{shown(out_dir)}/best_model.pt, metrics.jsonl, loss_curve.png, run.json",
    }.items():
        print(f"  {label:<12} {value}")
    if manifest.get("fallback"):
        print(
            f"  Note: this is the {SAMPLE_NAME}, because the Leipzig corpus could not be had. The\n"
            "  same command tries again."
        )
    print("  next         " + "\n               ".join(next_steps()))


def next_steps() -> list[str]:
    """The commands that open the three front doors, from the folder we are in."""
    python = shown(Path(sys.executable))
    doors = {
        "quick_test.py": [python],
        "demo_inference.ipynb": [python, "-m", "jupyter", "lab"],
        "app.py": [python],
    }
    return [shlex.join([*start, shown(PROJECT_DIR / file)]) for file, start in doors.items()]


if __name__ == "__main__":
    sys.exit(main())
