"""A run of stage 3 from its first step to its last, and what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from config import PRESETS, TrainConfig
from model import GPT
from pipeline.batches import evaluation_rows
from pipeline.device import Compute
from pipeline.evaluate import total_nats, unigram_loss
from pipeline.optimizer import learning_rate_at
from pipeline.training_text import load_training_text
from utils import load_model

CPU = Compute(torch.device("cpu"), torch.float32, "a test")
FILES = {"best_model.pt", "last.pt", "metrics.jsonl", "loss_curve.png", "run.json"}


@pytest.fixture(scope="module")
def fresh(
    one_thread: None, prepared: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Any]:
    """A run as a person starts it, with the vocabulary that the small text allows."""
    workspace = prepared.copy(tmp_path_factory.mktemp("fresh") / "workspace")
    assert "Note" in workspace.stage2().out
    outcome = workspace.stage3(
        *("--preset", "tiny", "--max-iters", 30, "--eval-interval", 10, "--batch-size", 1),
        *("--dtype", "float32", "--dropout", 0.05),
    )
    return workspace, outcome


# -------------------------------------------------------------------------------- the contract


def test_a_run_succeeds_in_silence_on_standard_error(fresh: Any) -> None:
    _, outcome = fresh
    assert outcome.code == 0
    assert outcome.err == ""


def test_it_leaves_exactly_the_files_of_the_contract(fresh: Any) -> None:
    workspace, _ = fresh
    assert {path.name for path in workspace.models.iterdir()} == FILES
    assert (workspace.models / "loss_curve.png").read_bytes().startswith(b"\x89PNG")


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(plain, value.keys())) and all(map(plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, torch.Tensor | str | int | float)


def test_checkpoints_hold_tensors_and_plain_values(fresh: Any) -> None:
    workspace, _ = fresh
    best, last = workspace.checkpoint("best_model.pt"), workspace.checkpoint("last.pt")
    common = {"format", "model", "config", "tokenizer_sha256", "step", "card"}
    assert best.keys() == common | {"val_loss"}
    assert last.keys() == common | {"state", "optimizer", "scaler"}
    assert plain(best)
    assert plain(last)
    for content in (best, last):
        assert content["config"] == workspace.run["model"]
        assert content["tokenizer_sha256"] == workspace.tokenizer_facts["sha256"]
        assert all(tensor.dtype == torch.float32 for tensor in content["model"].values())
    assert last["step"] == last["state"]["step"] == 30


def test_metrics_have_a_row_a_log_step(fresh: Any) -> None:
    workspace, _ = fresh
    rows = workspace.metrics
    assert all(
        row.keys()
        == {
            "step",
            "tokens",
            "epoch",
            "train_loss",
            "val_loss",
            "bits_per_byte",
            "learning_rate",
            "gradient_norm",
            "tokens_per_second",
            "seconds",
        }
        for row in rows
    )
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert [row["tokens"] for row in rows] == [256 * step for step in range(1, 31)]
    assert [row["step"] for row in rows if row["val_loss"] is not None] == [10, 20, 30]
    assert [row["step"] for row in rows if row["bits_per_byte"] is not None] == [10, 20, 30]
    recipe = TrainConfig(**workspace.run["train"])
    assert [row["learning_rate"] for row in rows] == [
        learning_rate_at(step, recipe) for step in range(30)
    ]
    train_tokens = workspace.run["train_tokens"]
    assert rows[-1]["epoch"] == pytest.approx(30 * 256 / train_tokens)
    assert all(row["tokens_per_second"] > 0 and row["gradient_norm"] > 0 for row in rows)
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_run_json_says_what_was_asked_and_decided(fresh: Any) -> None:
    workspace, _ = fresh
    run = workspace.run
    assert run["finished"] is True
    assert run["asked"] == {
        "preset": "tiny",
        "max_iters": 30,
        "eval_interval": 10,
        "batch_size": 1,
        "dtype": "float32",
        "device": "cpu",
        "dropout": 0.05,
    }
    recipe, tiny = run["train"], PRESETS["tiny"]
    assert recipe["learning_rate"] == tiny.train.learning_rate
    assert recipe["min_lr"] == tiny.train.last_lr
    assert recipe["warmup_iters"] == 3
    shape = vars(tiny.model) | {"vocab_size": workspace.vocab_size, "dropout": 0.05}
    assert run["model"] == shape
    assert run["corpus"] == "primer"
    text = load_training_text(workspace.data, workspace.tokenizer)
    assert run["hashes"] == text.hashes
    assert run["train_tokens"] == len(text.train)
    assert run["versions"].keys() == {"python", "torch", "numpy", "tokenizers"}
    assert "float32" in run["device"]


def test_the_vocabulary_follows_a_small_text(fresh: Any) -> None:
    workspace, _ = fresh
    assert workspace.vocab_size < 1000
    assert workspace.checkpoint("best_model.pt")["model"]["embedding.weight"].shape == (
        workspace.vocab_size,
        256,
    )


def test_the_best_model_has_the_loss_it_says(fresh: Any) -> None:
    workspace, _ = fresh
    model, _ = load_model(workspace.models / "best_model.pt", "cpu", workspace.tokenizer)
    text = load_training_text(workspace.data, workspace.tokenizer)
    score = text.score(total_nats(model, *evaluation_rows(text.val, 256), CPU))
    best = min(
        (row for row in workspace.metrics if row["val_loss"] is not None),
        key=lambda row: row["val_loss"],
    )
    content = workspace.checkpoint("best_model.pt")
    result = workspace.run["result"]
    assert content["val_loss"] == best["val_loss"] == pytest.approx(score.loss, rel=1e-6)
    assert content["step"] == best["step"] == result["best_step"]
    assert result["val_loss"] == pytest.approx(score.loss, rel=1e-6)
    assert result["perplexity"] == pytest.approx(score.perplexity, rel=1e-5)
    assert result["bits_per_character"] == pytest.approx(score.bits_per_character, rel=1e-6)
    assert result["bits_per_byte"] == pytest.approx(best["bits_per_byte"], rel=1e-6)
    assert best["bits_per_byte"] == pytest.approx(score.bits_per_byte, rel=1e-6)
    assert result["steps"] == 30


def test_it_learns_what_a_unigram_cannot(fresh: Any) -> None:
    workspace, outcome = fresh
    losses = [row["val_loss"] for row in workspace.metrics if row["val_loss"] is not None]
    assert losses[0] > losses[1] > losses[2]
    text = load_training_text(workspace.data, workspace.tokenizer)
    guessing = unigram_loss(text.train, text.val, text.vocab_size)
    assert workspace.run["result"]["unigram_loss"] == pytest.approx(guessing)
    assert losses[2] < guessing - 0.5
    assert "LEARNT NOTHING" not in outcome.out


def test_it_says_before_the_first_step_what_it_decided(fresh: Any) -> None:
    workspace, outcome = fresh
    before, _, _ = outcome.out.partition("  step 10:")
    run, facts = workspace.run, workspace.tokenizer_facts
    _, config = load_model(workspace.models / "best_model.pt", "cpu")
    parameters = GPT(config).parameter_count()
    for fact in (
        f"primer (sha256 {run['hashes']['training text'][:12]})",
        f"{facts['vocab_size']} tokens (sha256 {facts['sha256'][:12]})",
        f"{run['train_tokens']:,} training tokens",
        "tiny: 4 layers, 4 heads, 256 wide, context 256",
        f"{parameters:,} parameters",
        "float32: asked for with --dtype",
        "1 rows x 1 x 256 = 256 tokens",
        f"30 steps, {30 * 256 / run['train_tokens']:.1f} epochs",
        f"by frequency alone: {run['result']['unigram_loss']:.3f} nats",
        "about ",
        f"Note: warm-up shortened from {PRESETS['tiny'].train.warmup_iters} steps to a tenth, 3",
    ):
        assert fact in before


def test_each_evaluation_prints_the_loss_and_a_sample(fresh: Any) -> None:
    workspace, outcome = fresh
    lines = outcome.out.splitlines()
    for row in (row for row in workspace.metrics if row["val_loss"] is not None):
        at = next(i for i, line in enumerate(lines) if f"step {row['step']}: " in line)
        assert f"validation loss {row['val_loss']:.4f}" in lines[at]
        assert f"{row['bits_per_byte']:.3f} a byte" in lines[at]
        assert lines[at + 1].startswith("    Казан")
    assert "Done: 30 steps" in lines[-1]


# -------------------------------------------------------------------------------- once and again


@pytest.mark.parametrize("left", [FILES, {"best_model.pt"}, {"run.json"}, {"last.pt"}])
def test_an_earlier_run_is_never_overwritten_unasked(
    left: set[str], fresh: Any, tmp_path: Path, content_of: Callable[..., Any]
) -> None:
    workspace = fresh[0].copy(tmp_path / "copy")
    for name in FILES - left:
        (workspace.models / name).unlink()
    before = content_of(workspace.root)
    outcome = workspace.stage3("--preset", "tiny", "--max-iters", 1)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    for remedy in ("--resume", "--force", "--out-dir"):
        assert remedy in outcome.err
    assert content_of(workspace.root) == before


def test_force_starts_anew_and_minutes_fix_the_steps(fresh: Any, tmp_path: Path) -> None:
    workspace = fresh[0].copy(tmp_path / "copy")
    outcome = workspace.stage3(
        *("--preset", "tiny", "--minutes", 0.01, "--batch-size", 1, "--dtype", "float32"),
        *("--force", "--learning-rate", 1e-9, "--min-lr", 0),
    )
    assert outcome.code == 0
    run = workspace.run
    assert run["train"]["max_iters"] == run["train"]["eval_interval"] == 1  # there is no time
    assert [row["step"] for row in workspace.metrics] == [1]
    assert workspace.checkpoint("best_model.pt")["step"] == 1
    # One step at such a rate teaches nothing, and it says so.
    assert "LEARNT NOTHING" in outcome.out
    assert run["result"]["val_loss"] > run["result"]["unigram_loss"]


# -------------------------------------------------------------------------------- the arithmetic


def test_metrics_are_json_that_any_program_reads(workspace: Any) -> None:
    # The first scale of float16, 65,536, overflows gradients of this size.
    workspace.train(max_iters=3, dtype="float16", learning_rate=0.5)
    text = (workspace.models / "metrics.jsonl").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text


# -------------------------------------------------------------------------------- early ends


def test_patience_stops_a_run_that_gets_no_better(
    workspace: Any, corpus_writer: Any, sentences: Any
) -> None:
    # Validation text goes backwards: the better the model, the worse it predicts it.
    corpus_writer(workspace.data, sentences(400, 1), sentences(60, 2, backwards=True))
    outcome = workspace.train(max_iters=300, eval_interval=10, patience=2)
    assert outcome.code == 0
    evaluated = [row for row in workspace.metrics if row["val_loss"] is not None]
    best = min(evaluated, key=lambda row: row["val_loss"])
    assert best["step"] < workspace.metrics[-1]["step"] == best["step"] + 20 < 300
    assert f"Stopped early: no better validation loss since step {best['step']}" in outcome.out
    assert workspace.checkpoint("best_model.pt")["step"] == best["step"]
    assert workspace.run["finished"] is True
    assert workspace.run["result"]["steps"] == best["step"] + 20
    assert workspace.run["result"]["best_step"] == best["step"]


def test_without_patience_it_goes_on_and_keeps_the_best(
    workspace: Any, corpus_writer: Any, sentences: Any
) -> None:
    corpus_writer(workspace.data, sentences(400, 1), sentences(60, 2, backwards=True))
    assert workspace.train(max_iters=100, eval_interval=10).code == 0
    assert workspace.metrics[-1]["step"] == 100
    losses = {r["step"]: r["val_loss"] for r in workspace.metrics if r["val_loss"] is not None}
    best = workspace.checkpoint("best_model.pt")
    assert best["step"] < 100
    assert best["val_loss"] == losses[best["step"]] == min(losses.values())
    assert workspace.run["result"]["val_loss"] == pytest.approx(best["val_loss"])


def test_a_loss_that_comes_apart_stops_the_run(
    workspace: Any, content_of: Any, identical: Any
) -> None:
    workspace.train(max_iters=10, eval_interval=5)
    good = content_of(workspace.models)
    best = workspace.checkpoint("best_model.pt")
    # The same run with a rate that no model survives, gone on with from step 5.
    workspace.begin(max_iters=20, eval_interval=5, learning_rate=1e30, grad_clip=0.0)
    for name in ("last.pt", "best_model.pt"):
        (workspace.models / name).write_bytes(good[name])
    outcome = workspace.stage3("--resume")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "last.pt" in outcome.err
    assert "--learning-rate" in outcome.err
    assert (workspace.models / "last.pt").read_bytes() == good["last.pt"]
    assert identical(workspace.checkpoint("best_model.pt")["model"], best["model"])
    assert workspace.run["finished"] is False


@pytest.mark.parametrize(
    ("eval_interval", "dtype"), [(1, "float32"), (5, "float32"), (50, "float32"), (50, "float16")]
)
def test_a_run_that_comes_apart_at_once_says_that_nothing_was_saved(
    eval_interval: int, dtype: str, workspace: Any
) -> None:
    outcome = workspace.train(
        max_iters=50, eval_interval=eval_interval, dtype=dtype, learning_rate=1e30, grad_clip=0.0
    )
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "Nothing had been saved yet" in outcome.err
    step = re.search(r"at step (\d+)", outcome.err)
    assert step
    assert int(step[1]) <= 5  # not only at the first evaluation
    assert not (workspace.models / "last.pt").exists()
    assert not (workspace.models / "best_model.pt").exists()
