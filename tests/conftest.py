"""What the tests of several stages share: a small text that can be learnt, stages called in this
process, runs of a model small enough for milliseconds a step."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config import PROJECT_DIR, ModelConfig, TrainConfig

# Each word is always followed by the next one: easy to learn, and hopeless for a unigram.
# fmt: off
WORDS = [
    "Казан", "шәһәре", "матур", "һәм", "зур", "башкала",
    "анда", "елга", "буенда", "яшел", "бакча", "үсә",
]
# fmt: on


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than ten seconds")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """What stands on standard error, a line each."""
        return self.err.splitlines()


# A shell that starts the tests in the background makes them, and their children, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal(io.StringIO):
    """Standard output at which someone sits who presses Ctrl-C on reading certain words."""

    def __init__(self, *interrupt_at: str) -> None:
        super().__init__()
        self.waiting_for = list(interrupt_at)

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.waiting_for and self.waiting_for[0] in text:
            self.waiting_for.pop(0)
            signal.raise_signal(signal.SIGINT)
        return written


def call(script: str, *arguments: object, interrupt_at: tuple[str, ...] = ()) -> Outcome:
    """Run a script's main in this process: call("03_train", "--preset", "tiny").

    SIGINT arrives when each text of `interrupt_at` is printed, one after the other.
    """
    main = importlib.import_module(script).main
    out, err = Terminal(*interrupt_at), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def known_sentences(count: int, seed: int, backwards: bool = False) -> list[str]:
    """Sentences that go from a random word on to the last one."""
    words = WORDS[::-1] if backwards else WORDS
    pick = random.Random(seed)
    return [" ".join(words[pick.randrange(len(words) - 2) :]) + "." for _ in range(count)]


def write_corpus(
    data_dir: Path, train: list[str], val: list[str], name: str | None = "primer"
) -> None:
    """data/ as stage 1 leaves it; without a manifest if `name` is None."""
    data_dir.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for split, sentences in (("train.txt", train), ("val.txt", val)):
        data = "".join(sentence + "\n" for sentence in sentences).encode("utf-8")
        (data_dir / split).write_bytes(data)
        hashes[split] = hashlib.sha256(data).hexdigest()
    if name is not None:
        manifest = {"corpus": name, "sha256": hashes}
        (data_dir / "manifest.json").write_text(
            json.dumps(manifest, ensure_ascii=False), encoding="utf-8"
        )


@dataclass(frozen=True)
class Workspace:
    """A folder with data/, tokenizer/ and models/."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def vocab_size(self) -> int:
        return self.tokenizer_facts["vocab_size"]

    @property
    def tokenizer_facts(self) -> dict[str, Any]:
        return json.loads((self.tokenizer / "config.json").read_text(encoding="utf-8"))

    @property
    def run(self) -> dict[str, Any]:
        return json.loads((self.models / "run.json").read_text(encoding="utf-8"))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.models / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def copy(self, root: Path) -> Workspace:
        shutil.copytree(self.root, root)
        return Workspace(root)

    def folders(self) -> list[object]:
        return [
            "--data-dir", self.data, "--tokenizer-dir", self.tokenizer, "--out-dir", self.models,
        ]  # fmt: skip

    def stage2(self, *more: object) -> Outcome:
        return call(
            "02_train_tokenizer",
            *("--data-dir", self.data, "--tokenizer-dir", self.tokenizer),
            *more,
        )

    def stage3(self, *more: object, interrupt_at: tuple[str, ...] = ()) -> Outcome:
        return call(
            "03_train", *self.folders(), "--device", "cpu", *more, interrupt_at=interrupt_at
        )

    def begin(self, model: dict[str, Any] | None = None, **train: Any) -> None:
        """Write down a run that is begun and has done no step; `stage3("--resume")` trains it.

        The presets are too large for most tests, and a run that goes on measures no step.
        """
        from pipeline.device import choose_compute
        from pipeline.plan import Plan
        from pipeline.run_folder import RunFolder, record_of
        from pipeline.training_text import load_training_text

        text = load_training_text(self.data, self.tokenizer)
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 32, "dropout": 0.1}
        recipe: dict[str, Any] = {
            "preset": "tiny",
            "device": "cpu",
            "dtype": "float32",
            "max_iters": 20,
            "eval_interval": 10,
            "batch_size": 4,
            "grad_accum": 1,
            "learning_rate": 1e-2,
            "min_lr": 1e-3,
            "warmup_iters": 5,
            "compile": "off",
        }
        config = TrainConfig(**recipe | train)
        plan = Plan(
            ModelConfig(**shape | {"vocab_size": text.vocab_size} | (model or {})),
            config,
            compiled=config.compile == "on",
            seconds=None,
            notes=(),
        )
        asked = {k: v for k, v in train.items() if k not in ("data_dir", "out_dir")}
        compute = choose_compute("cpu", config.dtype)
        RunFolder(self.models).begin(record_of(plan, asked, text, compute, 1))

    def train(
        self,
        model: dict[str, Any] | None = None,
        *,
        interrupt_at: tuple[str, ...] = (),
        **train: Any,
    ) -> Outcome:
        """Train a model of 30,000 parameters from step 0."""
        self.begin(model, **train)
        return self.stage3("--resume", interrupt_at=interrupt_at)

    def checkpoint(self, name: str = "last.pt") -> dict[str, Any]:
        import torch

        return torch.load(self.models / name, weights_only=True)


@pytest.fixture(scope="session")
def one_thread() -> None:
    """The matrices here are so small that a second thread only costs."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A learnable corpus and its tokenizer. Shared: copy it to change it."""
    workspace = Workspace(tmp_path_factory.mktemp("prepared"))
    write_corpus(workspace.data, known_sentences(400, seed=1), known_sentences(60, seed=2))
    outcome = workspace.stage2("--vocab-size", 320)
    assert outcome.code == 0, outcome.err
    return workspace


@pytest.fixture(scope="session")
def trained(
    one_thread: None, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """A finished run that knows its text well. Shared: copy it to change it."""
    workspace = prepared.copy(tmp_path_factory.mktemp("trained") / "run")
    outcome = workspace.train(max_iters=200, eval_interval=50, min_lr=1e-4)
    assert outcome.code == 0, outcome.err
    return workspace


@pytest.fixture
def workspace(one_thread: None, prepared: Workspace, tmp_path: Path) -> Workspace:
    """A learnable corpus and its tokenizer, to do with as one likes."""
    return prepared.copy(tmp_path / "workspace")


@pytest.fixture
def empty_workspace(one_thread: None, tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def run_script() -> Callable[..., Outcome]:
    return call


@pytest.fixture(scope="session")
def corpus_writer() -> Callable[..., None]:
    return write_corpus


@pytest.fixture(scope="session")
def sentences() -> Callable[..., list[str]]:
    return known_sentences


@pytest.fixture
def content_of() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes: to see that nothing was touched."""

    def content(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return content


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """For a child process that must compute bit for bit as this one does."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


@pytest.fixture(scope="session")
def script_command() -> Callable[..., list[str]]:
    """The command line of a script, as a person would start it."""

    def command(script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(PROJECT_DIR / f"{script}.py"), *map(str, arguments)]

    return command


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, through dicts and lists, tensors included."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if dataclasses.is_dataclass(one):
        return same(vars(one), vars(other))
    return bool(one == other)


@pytest.fixture(scope="session")
def identical() -> Callable[[Any, Any], bool]:
    return same
