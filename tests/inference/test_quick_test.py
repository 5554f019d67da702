"""quick_test.py: a first look at a trained model."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from config import REFERENCE_PROMPTS, REFERENCE_SENTENCES, SAMPLE_NAME
from utils import load_model, load_tokenizer, perplexity


def look(run_script: Any, workspace: Any, *more: object) -> Any:
    return run_script(
        "quick_test",
        *("--model", workspace.models / "best_model.pt", "--tokenizer", workspace.tokenizer),
        *("--device", "cpu"),
        *more,
    )


@pytest.fixture(scope="module")
def shown(trained: Any, run_script: Any) -> Any:
    return look(run_script, trained)


def test_it_works(shown: Any) -> None:
    assert shown.code == 0
    assert shown.err == ""


def test_it_shows_the_card(shown: Any, trained: Any) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    for fact in (
        "primer",
        f"{model.parameter_count():,} parameters",
        f"{model.card['step']:,}",
        f"{model.card['val_loss']:.4f}",
        f"{model.card['unigram_loss']:.4f}",
    ):
        assert fact in shown.out


def test_it_shows_each_prompt_and_three_temperatures(shown: Any) -> None:
    assert REFERENCE_PROMPTS == ("Казан", "Казан шәһәре", "Татарстанның башкаласы")
    lines = shown.out.splitlines()
    for prompt in REFERENCE_PROMPTS:
        assert any(line.split(maxsplit=len(prompt.split()))[-1].startswith(prompt)
                   for line in lines if line.startswith(f"  {prompt} "))  # fmt: skip
    for temperature in ("0.3", "0.8", "1.5"):
        (line,) = [line for line in lines if line.startswith(f"  {temperature} ")]
        assert line.split(maxsplit=1)[1].startswith("Казан шәһәре")


def test_it_shows_perplexities_and_their_mean(shown: Any, trained: Any) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    tokenizer, _ = load_tokenizer(trained.tokenizer)
    values = [perplexity(model, tokenizer, sentence) for sentence in REFERENCE_SENTENCES]
    assert len(values) == 3
    lines = shown.out.splitlines()
    for sentence, value in zip(REFERENCE_SENTENCES, values, strict=True):
        assert any(line.split() == [f"{value:.1f}", *sentence.split()] for line in lines)
    assert lines[-1].split() == [f"{sum(values) / 3:.1f}", "mean"]


def test_programs_get_the_same_as_json(shown: Any, trained: Any, run_script: Any) -> None:
    outcome = look(run_script, trained, "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert found["card"]["corpus"] == "primer"
    assert [written["prompt"] for written in found["prompts"]] == list(REFERENCE_PROMPTS)
    assert [written["temperature"] for written in found["temperatures"]] == [0.3, 0.8, 1.5]
    for written in found["prompts"] + found["temperatures"]:
        assert written["text"] in shown.out
    assert list(found["perplexity"]) == sorted(REFERENCE_SENTENCES)
    assert f"{found['mean_perplexity']:.1f}  mean" in shown.out


def test_it_says_the_same_each_time(shown: Any, trained: Any, run_script: Any) -> None:
    assert look(run_script, trained).out == shown.out


def test_it_says_when_the_model_knows_the_built_in_sample_alone(
    workspace: Any, run_script: Any, corpus_writer: Any, sentences: Any, shown: Any
) -> None:
    corpus_writer(workspace.data, sentences(400, 1), sentences(60, 2), name=SAMPLE_NAME)
    assert workspace.train(max_iters=2).code == 0
    outcome = look(run_script, workspace)
    assert outcome.code == 0
    assert "built-in sample" in outcome.out
    assert "built-in sample" not in shown.out


def test_it_needs_no_corpus_and_works_from_anywhere(
    trained: Any, tmp_path: Path, script_command: Any, child_environment: dict[str, str], shown: Any
) -> None:
    folder = tmp_path / "Кәрван юлы"  # a space and Tatar letters
    for name in ("models/best_model.pt", "tokenizer/tokenizer.json"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(trained.root / name, folder / name)
    done = subprocess.run(
        script_command("quick_test", "--device", "cpu"),
        cwd=folder,
        env={key: value for key, value in child_environment.items() if key != "PYTHONUTF8"}
        | {"LC_ALL": "C", "PYTHONWARNINGS": "error"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").splitlines() == shown.out.splitlines()
    assert done.stderr == b""


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("missing", "is not there. Train one with: bash run_pipeline.sh"),
        ("empty", "is damaged or no PyTorch checkpoint"),
        ("truncated", "is damaged or no PyTorch checkpoint"),
        ("text", "is damaged or no PyTorch checkpoint"),
        ("pickle", "is damaged or no PyTorch checkpoint"),
        ("malicious", "is damaged or no PyTorch checkpoint"),
        ("weights of another program", "is a checkpoint of another program"),
        ("folder", "is not there"),
    ],
)
def test_a_bad_checkpoint_gives_one_line(
    kind: str, complaint: str, trained: Any, run_script: Any, tmp_path: Path
) -> None:
    workspace = trained.copy(tmp_path / "copy")
    path, trace = workspace.models / "best_model.pt", tmp_path / "it ran"
    whole = path.read_bytes()
    path.unlink()
    if kind == "malicious":
        torch.save({"model": Command(trace)}, path)
    elif kind == "weights of another program":
        torch.save({"transformer.wte.weight": torch.zeros(2, 2)}, path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "truncated": whole[: len(whole) // 2],
                "text": "Казан шәһәре\n".encode() * 100,
                "pickle": pickle.dumps({"model": [1, 2, 3]}),
            }[kind]
        )
    outcome = look(run_script, workspace)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert outcome.err.startswith("error: ")
    assert "best_model.pt" in outcome.err
    assert complaint in outcome.err
    assert outcome.out == ""
    assert not trace.exists()


def test_another_tokenizer_gives_one_line(trained: Any, run_script: Any, tmp_path: Path) -> None:
    workspace = trained.copy(tmp_path / "copy")
    own = workspace.tokenizer_facts["sha256"]
    assert workspace.stage2("--vocab-size", 300).code == 0
    outcome = look(run_script, workspace)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert own[:12] in outcome.err
    assert workspace.tokenizer_facts["sha256"][:12] in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"version": "1.0"', b"\x00" * 100])
def test_a_bad_tokenizer_gives_one_line(
    content: bytes | None, trained: Any, run_script: Any, tmp_path: Path
) -> None:
    workspace = trained.copy(tmp_path / "copy")
    path = workspace.tokenizer / "tokenizer.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    outcome = look(run_script, workspace)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "tokenizer.json" in outcome.err


@pytest.mark.parametrize("flags", [["--device", "tpu"], ["--modell", "x"], ["--model"]])
def test_wrong_flags_give_one_line(flags: list[str], trained: Any, run_script: Any) -> None:
    outcome = look(run_script, trained, *flags)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert flags[0] in outcome.err
