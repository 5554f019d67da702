"""One run on several processes: the same weights, one voice, and no end without a word."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from config import PROJECT_DIR
from pipeline.files import alone_in
from tests.conftest import write_corpus


def torchrun(processes: int, *command: object) -> list[str]:
    """--standalone: torchrun finds a free port itself."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    return [*launcher, f"--nproc_per_node={processes}", *map(str, command)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment() | variables, capture_output=True, text=True,
        encoding="utf-8", timeout=120,
    )  # fmt: skip


def script(workspace: Any, *more: object) -> list[object]:
    return [PROJECT_DIR / "03_train.py", *workspace.folders(), "--device", "cpu", *more]


# What the recipe of `base` is in its first twenty steps: the rate is still rising.
FIRST_STEPS: dict[str, Any] = {
    "max_iters": 20, "eval_interval": 10, "batch_size": 2, "grad_accum": 4,
    "learning_rate": 3e-4, "min_lr": 0.0, "warmup_iters": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(
    one_thread: None, prepared: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[Any, str]]:
    """The same twenty steps without dropout on one, two and four processes."""
    done = {}
    for processes in (1, 2, 4):
        workspace = prepared.copy(tmp_path_factory.mktemp("world") / str(processes))
        workspace.begin({"dropout": 0.0}, **FIRST_STEPS)
        result = run(torchrun(processes, *script(workspace, "--resume")))
        assert result.returncode == 0, result.stderr
        done[processes] = workspace, result.stdout
    return done


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_learn_what_one_does(processes: int, runs: Any) -> None:
    one, several = (runs[n][0].checkpoint()["model"] for n in (1, processes))
    for name, weights in one.items():
        difference = torch.linalg.vector_norm(several[name] - weights)
        assert difference <= 1e-5 * torch.linalg.vector_norm(weights), name


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_measure_what_one_does(processes: int, runs: Any) -> None:
    one, several = (runs[n][0].metrics for n in (1, processes))
    assert [row["step"] for row in several] == [row["step"] for row in one]
    for row, same in zip(several, one, strict=True):
        for value in ("train_loss", "gradient_norm"):
            assert row[value] == pytest.approx(same[value], rel=1e-5)
        if same["val_loss"] is not None:
            assert row["val_loss"] == pytest.approx(same["val_loss"], rel=1e-5)


def test_muon_learns_the_same_in_several_processes(prepared: Any, tmp_path: Path) -> None:
    weights = []
    for processes in (1, 2):
        workspace = prepared.copy(tmp_path / str(processes))
        workspace.begin({"dropout": 0.0}, **FIRST_STEPS, optimizer="muon")
        result = run(torchrun(processes, *script(workspace, "--resume")))
        assert result.returncode == 0, result.stderr
        weights.append(workspace.checkpoint()["model"])
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=0, atol=1e-5, msg=name)


def test_one_process_alone_prints(runs: Any) -> None:
    one, several = (runs[processes][1].splitlines() for processes in (1, 4))
    assert sum("4 processes" in line for line in several) == 1
    for words in ("  corpus", "  step 20:", "  Done:"):
        assert sum(line.startswith(words) for line in several) == 1
        assert sum(line.startswith(words) for line in one) == 1


def test_dropout_differs_from_step_to_step_and_from_process_to_process() -> None:
    seed_of_step = importlib.import_module("03_train").seed_of_step
    seeds = [seed_of_step(*key) for key in itertools.product((1, 1337), range(50), range(8))]
    assert len(set(seeds)) == 2 * 50 * 8
    assert seed_of_step(1, 2, 3) == seed_of_step(1, 2, 3)


def test_processes_drop_out_different_parts(prepared: Any, tmp_path: Path) -> None:
    """Where all rows are alike, two processes that drop out the same parts learn what one does."""
    sentence = "башкала анда елга буенда яшел бакча үсә."
    tokenizer = Tokenizer.from_file(str(prepared.tokenizer / "tokenizer.json"))
    length = len(tokenizer.encode(sentence, add_special_tokens=False).ids) + 2
    losses = []
    for processes in (1, 2):
        workspace = prepared.copy(tmp_path / str(processes))
        write_corpus(workspace.data, [sentence] * 100, [sentence] * 10)
        shape = {"dropout": 0.5, "block_size": 2 * length}
        workspace.begin(shape, max_iters=1, eval_interval=1, batch_size=processes)
        result = run(torchrun(processes, *script(workspace, "--resume")))
        assert result.returncode == 0, result.stderr
        losses.append(workspace.metrics[0]["train_loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-5)


@pytest.fixture
def long_run(workspace: Any) -> Any:
    """Begun, and of enough steps to be hit while it works."""
    workspace.begin({"dropout": 0.1}, max_iters=400, eval_interval=40, batch_size=4)
    return workspace


def test_a_lost_process_ends_the_run_and_another_number_goes_on(long_run: Any) -> None:
    result = run_and_signal(long_run, "  step 80:", signal.SIGKILL)
    assert complaints(result) == [
        "error: another process of this run is gone. What was saved is whole: go on with "
        "--resume, with as many processes as you like"
    ]
    saved = long_run.checkpoint()["step"]
    assert 80 <= saved < 400
    result = run(torchrun(4, *script(long_run, "--resume")))
    assert result.returncode == 0, result.stderr
    assert f"Going on after step {saved} of 400" in result.stdout
    assert long_run.run["finished"]


def test_a_stopped_run_is_saved_and_finishes_with_one_process(long_run: Any) -> None:
    # To one process alone: the other is asked, and stops with it.
    result = run_and_signal(long_run, "  step 40:", signal.SIGTERM)
    saved = long_run.checkpoint()["step"]
    assert 40 <= saved < 400
    assert result.stdout.splitlines()[-1] == f"Saved after step {saved}. Go on with: --resume"
    finished = run(torchrun(1, *script(long_run, "--resume")))
    assert finished.returncode == 0, finished.stderr
    again = run(torchrun(2, *script(long_run, "--resume")))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished. Nothing is to do.") == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ here")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch does not quote its own path to g++")
def test_where_one_process_cannot_compile_none_does(workspace: Any, tmp_path: Path) -> None:
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 16, "block_size": 16}
    workspace.begin(shape, max_iters=2, eval_interval=2, batch_size=2, compile="on")
    nowhere = tmp_path / "no programs here"
    nowhere.mkdir()
    without = f'export CXX=g++ PATH="{nowhere}" TORCHINDUCTOR_CACHE_DIR="{nowhere}"'
    started = [sys.executable, *script(workspace, "--resume")]
    command = torchrun(
        2, "--no-python", "bash", "-c", f'[ "$RANK" = 0 ] || {without}; exec "$@"', "-", *started
    )
    result = run(command)
    assert result.returncode == 0, result.stderr
    assert "torch.compile fails in another process" in result.stdout
    assert workspace.run["finished"]


def test_a_folder_in_which_another_run_is_at_work(prepared: Any, tmp_path: Path) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    workspace.begin()
    with alone_in(workspace.models):
        result = run(torchrun(2, *script(workspace, "--resume")))
    assert len(complaints(result)) == 1
    assert "another run is at work in" in result.stderr


def run_and_signal(
    workspace: Any, at: str, number: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Two processes; the second gets a signal when the first prints a line that begins so."""
    command = torchrun(2, *script(workspace, "--resume"))
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8",
    ) as launcher:  # fmt: skip
        assert launcher.stdout is not None
        printed = []
        for line in launcher.stdout:
            printed.append(line)
            if line.startswith(at):
                os.kill(rank_of(launcher.pid, 1), number)
        _, errors = launcher.communicate(timeout=60)
    return subprocess.CompletedProcess(command, launcher.returncode, "".join(printed), errors)


def rank_of(launcher: int, rank: int) -> int:
    """The process id of one rank."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == launcher:
                variables = (process / "environ").read_bytes().split(b"\0")
                if f"RANK={rank}".encode() in variables:
                    return int(process.name)
    raise AssertionError(f"no rank {rank}")


# -------------------------------------------------------------------------------- mistakes


def complaints(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode != 0
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def test_rows_that_cannot_be_shared_evenly(prepared: Any, tmp_path: Path) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    workspace.begin(batch_size=3)
    result = run(torchrun(2, *script(workspace, "--resume")))
    assert complaints(result) == [
        "error: --batch-size 3 with --grad-accum 1: 3 rows a step cannot be shared evenly by 2 "
        "processes"
    ]


def test_processes_with_different_texts(
    prepared: Any, tmp_path: Path, corpus_writer: Any, sentences: Any
) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    workspace.begin()
    corpus_writer(tmp_path / "workspace" / "data1", sentences(300, seed=5), sentences(60, seed=6))
    (workspace.root / "data").rename(workspace.root / "data0")
    command = " ".join(
        [
            f"exec '{sys.executable}' '{PROJECT_DIR}/03_train.py' --resume --device cpu",
            f"--data-dir '{workspace.root}'/data$RANK --tokenizer-dir '{workspace.tokenizer}'",
            f"--out-dir '{workspace.models}'",
        ]
    )
    result = run(torchrun(2, "--no-python", "bash", "-c", command))
    assert any("training text is not the one this run began with" in c for c in complaints(result))


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"RANK": "5", "WORLD_SIZE": "2"}, "RANK=5: must be below WORLD_SIZE (2)"),
        ({"RANK": "0", "WORLD_SIZE": "two"}, "WORLD_SIZE=two: must be a number"),
    ],
)
def test_a_world_that_contradicts_itself(
    variables: dict[str, str], complaint: str, prepared: Any, tmp_path: Path
) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    result = run([sys.executable, *map(str, script(workspace))], **variables)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {complaint}")
    assert len(result.stderr.splitlines()) == 1


def test_a_port_in_use(prepared: Any, tmp_path: Path) -> None:
    workspace = prepared.copy(tmp_path / "workspace")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run(
            [sys.executable, *map(str, script(workspace))],
            RANK="0", WORLD_SIZE="2", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )  # fmt: skip
    assert result.returncode == 2
    assert len(complaints(result)) == 1
    assert "the 2 processes cannot be connected" in result.stderr
    assert "--master_port" in result.stderr
    assert not (workspace.models / "run.json").exists()
