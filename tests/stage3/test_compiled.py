"""--compile on: the same losses from a compiled graph, or one warning and the plain model."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from config import ModelConfig
from model import GPT, Dropout
from pipeline.compiled import LossFunction

SHAPE = {"n_layer": 1, "n_head": 1, "n_embd": 16, "block_size": 16, "dropout": 0.0}
SETTINGS: dict[str, Any] = {"max_iters": 4, "eval_interval": 2, "batch_size": 2, "grad_accum": 2}


def losses(workspace: Any) -> list[float]:
    return [row["train_loss"] for row in workspace.metrics]


def plain_losses(prepared: Any, folder: Path, **settings: Any) -> list[float]:
    """Losses of the same run without compilation."""
    workspace = prepared.copy(folder)
    assert workspace.train(SHAPE, **SETTINGS, **settings).code == 0
    return losses(workspace)


def compile_in_a_process(
    workspace: Any, script_command: Any, environment: dict[str, str], **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Started as a person would: the compiler warns of its own parts' old age in Python."""
    workspace.begin(SHAPE, **SETTINGS, **settings, compile="on")
    command = script_command("03_train", *workspace.folders(), "--device", "cpu", "--resume")
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ here")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch does not quote its own path to g++")
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({}, 1e-4),
        ({"dtype": "bfloat16", "grad_checkpoint": True}, 3e-3),
    ],
)
def test_compiled_training_gives_the_same_losses(
    settings: dict[str, Any],
    tolerance: float,
    workspace: Any,
    prepared: Any,
    tmp_path: Path,
    script_command: Any,
    child_environment: dict[str, str],
) -> None:
    done = compile_in_a_process(workspace, script_command, child_environment, **settings)
    assert done.returncode == 0, done.stderr
    assert "tokens; compiled" in done.stdout
    assert "Warning" not in done.stdout
    plain = plain_losses(prepared, tmp_path / "plain", **settings)
    assert losses(workspace) == pytest.approx(plain, rel=tolerance)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ here")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch does not quote its own path to g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own parts
def test_compiled_dropout_drops_its_share_of_every_part() -> None:
    x = torch.ones(3, 333, 333, requires_grad=True)
    y = torch.compile(Dropout(0.25).train(), dynamic=False)(x)
    y.sum().backward()
    assert torch.equal(y, x.grad)  # the same places, scaled alike, in both passes
    for lane in range(4):  # four decisions come from one random number
        share = (y.flatten()[lane::4] == 0).float().mean().item()
        assert share == pytest.approx(0.25, abs=0.006), lane


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ here")
@pytest.mark.skipif(" " in torch.__file__, reason="PyTorch does not quote its own path to g++")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_compiled_runs_with_dropout_give_the_same_weights(
    dtype: str,
    prepared: Any,
    tmp_path: Path,
    script_command: Any,
    child_environment: dict[str, str],
    identical: Any,
) -> None:
    weights = []
    for run in ("one", "other"):
        workspace = prepared.copy(tmp_path / run)
        settings = SETTINGS | {"dtype": dtype, "compile": "on"}
        workspace.begin(SHAPE | {"dropout": 0.2}, **settings)
        command = script_command("03_train", *workspace.folders(), "--device", "cpu", "--resume")
        done = subprocess.run(command, env=child_environment, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert b"Warning" not in done.stdout
        weights.append(workspace.checkpoint()["model"])
    assert identical(weights[0], weights[1])


def test_without_a_compiler_one_warning_and_the_plain_model(
    workspace: Any,
    prepared: Any,
    script_command: Any,
    child_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    nowhere = tmp_path / "no programs here"
    nowhere.mkdir()
    environment = child_environment | {
        "PATH": str(nowhere),
        "CXX": "g++",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = compile_in_a_process(workspace, script_command, environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("Warning") == 1
    assert "torch.compile does not work here" in done.stdout
    plain = plain_losses(prepared, tmp_path / "plain")
    assert losses(workspace) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("message", ["no such luck\nsecond line", ""])
def test_any_failure_of_the_compiler_falls_back(
    message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a Python for which torch.compile itself raises."""

    def broken(*arguments: Any, **settings: Any) -> None:
        torch.rand(3)  # and leaves the random numbers elsewhere
        raise RuntimeError(message)

    torch.manual_seed(1)
    model = GPT(ModelConfig(1, 1, 16, 16, 50, dropout=0.5))
    x = torch.randint(0, 50, (2, 16))
    torch.manual_seed(2)
    expected = [model(x, x)[1] for _ in range(2)]
    torch.manual_seed(2)
    monkeypatch.setattr(torch, "compile", broken)
    loss = LossFunction(model, compiled=True)
    assert [loss(x, x) for _ in range(2)] == expected
    printed = capsys.readouterr().out
    assert printed.count("Warning") == 1
    assert "second line" not in printed


def test_a_failure_in_the_compiled_backward_pass_falls_back_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The backward pass is compiled only when it is first taken."""

    def compile_forward_only(model: GPT, **settings: Any) -> Any:
        def forward(inputs: torch.Tensor, targets: torch.Tensor) -> Any:
            loss = model(inputs, targets)[1]
            loss.register_hook(lambda gradient: 1 / 0)
            return None, loss

        return forward

    model = GPT(ModelConfig(1, 1, 16, 16, 50, dropout=0.0))
    x = torch.randint(0, 50, (2, 16))
    monkeypatch.setattr(torch, "compile", compile_forward_only)
    loss = LossFunction(model, compiled=True)
    loss(x, x).backward()
    assert not loss.compiled
    assert all(p.grad is not None for p in model.parameters())
    assert capsys.readouterr().out.count("Warning") == 1


def test_compilation_can_be_left_out() -> None:
    torch.manual_seed(1)
    model = GPT(ModelConfig(**SHAPE, vocab_size=50))
    x = torch.randint(0, 50, (2, 16))
    assert LossFunction(model, compiled=False)(x, x) == model(x, x)[1]


def test_the_record_says_whether_a_run_is_compiled(workspace: Any) -> None:
    workspace.begin(SHAPE, **SETTINGS, compile="on")
    assert workspace.run["compiled"] is True
    outcome = workspace.stage3("--resume", "--compile", "off")
    assert outcome.code == 0
    assert "; compiled" not in outcome.out
    assert "Warning" not in outcome.out
    assert json.loads((workspace.models / "run.json").read_text(encoding="utf-8"))["finished"]
