"""A run that was stopped goes on as if it never had been."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.interrupt import StopSignal

CLOCKS = ("seconds", "tokens_per_second")


def without_clocks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def result_of(workspace: Any) -> dict[str, Any]:
    """All that a run leaves, but for what the clock says."""
    last = workspace.checkpoint("last.pt")
    del last["state"]["seconds"]
    run = workspace.run
    del run["result"]["seconds"]
    return {
        "last.pt": last,
        "best_model.pt": workspace.checkpoint("best_model.pt"),
        "metrics.jsonl": without_clocks(workspace.metrics),
        "run.json": run,
    }


# -------------------------------------------------------------------------------- real processes

# Long enough that no signal comes too late, and such that not every step has a row of metrics.
STEPS = 600
SETTINGS: dict[str, Any] = {"max_iters": STEPS, "eval_interval": 100}


class Ended(NamedTuple):
    code: int
    out: str
    err: str
    step: int | None  # of last.pt


def run_until(
    workspace: Any,
    command: list[str],
    environment: dict[str, str],
    is_time: Callable[[list[dict[str, Any]]], bool],
    number: signal.Signals,
) -> Ended:
    """Start stage 3 as a process of its own and send it a signal once its metrics say so."""
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        while process.poll() is None and not is_time(whole_rows(workspace)):
            try:
                process.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    last = workspace.models / "last.pt"
    step = workspace.checkpoint()["step"] if last.exists() else None
    return Ended(process.returncode, out, err, step)


def whole_rows(workspace: Any) -> list[dict[str, Any]]:
    """The rows so far; a line that is just being written does not count."""
    path = workspace.models / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def reached(step: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda rows: bool(rows) and rows[-1]["step"] >= step


@pytest.fixture(scope="module")
def unbroken(
    one_thread: None, prepared: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    workspace = prepared.copy(tmp_path_factory.mktemp("unbroken") / "workspace")
    assert workspace.train(**SETTINGS).code == 0
    return result_of(workspace)


@pytest.fixture(scope="module")
def broken(
    one_thread: None,
    prepared: Any,
    script_command: Any,
    child_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Ended], Any]:
    """The same run, stopped by SIGTERM, killed by SIGKILL, stopped by Ctrl-C, and finished."""
    workspace = prepared.copy(tmp_path_factory.mktemp("broken") / "workspace")
    workspace.begin(**SETTINGS)
    command = script_command("03_train", *workspace.folders(), "--device", "cpu", "--resume")
    ends = {
        name: run_until(workspace, command, child_environment, reached(step), number)
        for name, step, number in (
            ("terminated", 20, signal.SIGTERM),
            ("killed", 120, signal.SIGKILL),
            ("interrupted", 180, signal.SIGINT),
        )
    }
    outcome = workspace.stage3("--resume")
    assert outcome.code == 0, outcome.err
    return ends, workspace


@pytest.mark.parametrize("how", ["terminated", "interrupted"])
def test_a_stopped_process_saves_and_says_how_to_go_on(how: str, broken: Any) -> None:
    end = broken[0][how]
    assert end.code == 130
    assert "Stopping: saving after this step" in end.err
    assert "Traceback" not in end.err
    assert end.out.splitlines()[-1] == f"Saved after step {end.step}. Go on with: --resume"


def test_a_killed_process_leaves_its_last_evaluation(broken: Any) -> None:
    end = broken[0]["killed"]
    assert end.code == -signal.SIGKILL
    assert end.step == 100


def test_a_run_that_goes_on_says_where(broken: Any) -> None:
    ends, _ = broken
    assert "starting at step 0" in ends["terminated"].out
    assert f"Going on after step {ends['terminated'].step} of 600" in ends["killed"].out
    assert "Going on after step 100 of 600" in ends["interrupted"].out


def test_a_broken_run_ends_as_the_unbroken_one_to_the_last_bit(
    broken: Any, unbroken: dict[str, Any], identical: Any
) -> None:
    ends, workspace = broken
    assert all(end.step < STEPS for end in ends.values())
    result = result_of(workspace)
    assert result["metrics.jsonl"] == unbroken["metrics.jsonl"]
    for part in ("model", "optimizer", "state"):
        assert identical(result["last.pt"][part], unbroken["last.pt"][part]), part
    assert identical(result, unbroken)


def test_seconds_add_up_over_the_pieces_of_a_run(broken: Any) -> None:
    _, workspace = broken
    seconds = [row["seconds"] for row in workspace.metrics]
    assert seconds == sorted(seconds)


# -------------------------------------------------------------------------------- in this process


def test_a_signal_at_a_known_step(prepared: Any, tmp_path: Path, identical: Any) -> None:
    """Stopped between two rows of metrics and two evaluations, with a scaler that has a state."""
    settings: dict[str, Any] = {
        "max_iters": 30, "eval_interval": 10, "dtype": "float16", "batch_size": 2, "grad_accum": 2
    }  # fmt: skip
    whole, parts = (prepared.copy(tmp_path / name) for name in ("whole", "parts"))
    assert whole.train(**settings).code == 0
    stopped = parts.train(**settings, interrupt_at=("step 10:",))
    assert stopped.code == 130
    assert "Saved after step 11. Go on with: --resume" in stopped.out
    assert parts.checkpoint()["scaler"]["_growth_tracker"] > 0
    assert parts.run["finished"] is False
    assert parts.stage3("--resume", interrupt_at=("step 20:",)).code == 130
    assert parts.stage3("--resume").code == 0
    assert identical(result_of(parts), result_of(whole))


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_signal_handlers_are_put_back(workspace: Any) -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    assert workspace.train(max_iters=4, eval_interval=1, interrupt_at=("step 2:",)).code == 130
    assert [signal.getsignal(number) for number in STOPPING] == before
    assert workspace.stage3("--resume").code == 0
    assert [signal.getsignal(number) for number in STOPPING] == before


@pytest.mark.parametrize("number", STOPPING)
def test_each_of_these_signals_asks_to_stop(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    def usual(number: int, frame: object) -> None: ...

    before = signal.signal(number, usual)
    try:
        with StopSignal() as stop:
            assert not stop.asked
            signal.raise_signal(number)
            assert stop.asked
            assert signal.getsignal(number) is usual  # a second one acts as usual
    finally:
        signal.signal(number, before)
    assert "Stopping" in capfd.readouterr().err


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)  # as nohup does with SIGHUP
    try:
        with StopSignal() as stop:
            signal.raise_signal(number)
            assert not stop.asked
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_second_ctrl_c_stops_at_once(workspace: Any, content_of: Any) -> None:
    outcome = workspace.train(
        # The words after "step 10:" are the sample of the same evaluation.
        max_iters=30,
        eval_interval=5,
        interrupt_at=("step 10:", "    "),
    )
    assert outcome.code == 130
    assert "Saved after" not in outcome.out
    assert len(outcome.complaints) == 2  # an empty line, and one that says what happened
    assert "Interrupted" in outcome.err
    assert workspace.checkpoint()["step"] == 10
    assert not [name for name in content_of(workspace.models) if name.endswith(".tmp")]
    assert workspace.stage3("--resume").code == 0


def test_a_finished_run_ends_at_once(trained: Any, tmp_path: Path, content_of: Any) -> None:
    workspace = trained.copy(tmp_path / "copy")
    before = content_of(workspace.root)
    outcome = workspace.stage3("--resume")
    assert outcome.code == 0
    assert "is finished. Nothing is to do" in outcome.out
    assert content_of(workspace.root) == before


def test_a_run_without_a_saved_state_starts_at_step_0(workspace: Any) -> None:
    outcome = workspace.train(max_iters=3)
    assert outcome.code == 0
    assert "nothing was saved yet: starting at step 0" in outcome.out
    assert [row["step"] for row in workspace.metrics] == [1, 2, 3]


def test_rows_of_lost_steps_do_not_come_twice(workspace: Any) -> None:
    """A crash right after the run was begun leaves rows and no checkpoint."""
    workspace.train(max_iters=6)
    expected = without_clocks(workspace.metrics)
    workspace.begin(max_iters=6)
    path = workspace.models / "metrics.jsonl"
    path.write_text('{"step": 1, "val_loss": 99.0}\n{"step": 2, "val_lo', encoding="utf-8")
    assert workspace.stage3("--resume").code == 0
    assert without_clocks(workspace.metrics) == expected


def test_a_run_stopped_after_its_last_step_only_finishes(workspace: Any) -> None:
    assert workspace.train(max_iters=5, eval_interval=5).code == 0
    run = workspace.run
    result = run.pop("result")
    (workspace.models / "run.json").write_text(
        json.dumps(run | {"finished": False}), encoding="utf-8"
    )
    rows = workspace.metrics
    assert workspace.stage3("--resume").code == 0
    assert workspace.metrics == rows
    assert workspace.run["finished"] is True
    assert workspace.run["result"] == result


def test_patience_is_remembered(
    prepared: Any, tmp_path: Path, corpus_writer: Any, sentences: Any, identical: Any
) -> None:
    whole, parts = (prepared.copy(tmp_path / name) for name in ("whole", "parts"))
    for workspace in (whole, parts):
        corpus_writer(workspace.data, sentences(400, 1), sentences(60, 2, backwards=True))
    settings: dict[str, Any] = {"max_iters": 300, "eval_interval": 10, "patience": 3}
    assert whole.train(**settings).code == 0
    best = whole.run["result"]["best_step"]
    assert parts.train(**settings, interrupt_at=(f"step {best + 20}:",)).code == 130
    assert parts.stage3("--resume").code == 0
    assert parts.run["result"]["steps"] == best + 30
    assert identical(result_of(parts), result_of(whole))


# -------------------------------------------------------------------------------- what may change
