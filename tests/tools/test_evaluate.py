"""python -m tools.evaluate: texts, strides, the Goldfish measure, baselines, mistakes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from config import BOS_ID, PROJECT_DIR, ModelConfig
from model import GPT
from pipeline.baselines import KneserNey, xz_bits
from pipeline.checkpoint import model_content, save_checkpoint
from pipeline.training_text import load_training_text
from tools.evaluate import PUBLISHED
from utils import load_tokenizer

# -------------------------------------------------------------------- texts and strides


def test_the_validation_split_scores_as_training_printed_it(evaluate: Any, trained: Any) -> None:
    outcome = evaluate()
    assert outcome.code == 0, outcome.err
    (text,) = evaluate.report["texts"]
    scores = text["scores"]["the model"]
    result = trained.run["result"]
    assert scores["nats_per_token"] == pytest.approx(result["val_loss"], rel=1e-9)
    assert scores["bits_per_byte"] == pytest.approx(result["bits_per_byte"], rel=1e-9)
    assert scores["bits_per_character"] == pytest.approx(result["bits_per_character"], rel=1e-9)
    assert evaluate.report["stride"] == evaluate.report["context"] == 32
    (row,) = [line.split() for line in outcome.out.splitlines() if "the model " in line]
    assert row[2:] == [
        f"{result[name]:.4f}" for name in ("bits_per_character", "bits_per_byte", "val_loss")
    ]
    loaded = load_training_text(trained.data, trained.tokenizer)
    assert (
        f"60 lines, {loaded.val_characters:,} characters, {loaded.val_bytes:,} bytes, "
        f"{loaded.val_targets:,} tokens; context 32, stride 32"
    ) in outcome.out


def test_the_arithmetic_is_that_of_the_training(evaluate: Any, workspace: Any) -> None:
    assert workspace.train(max_iters=3, dtype="bfloat16").code == 0
    loss = workspace.run["result"]["val_loss"]
    found = {}
    for dtype in ("auto", "float32"):
        assert evaluate("--dtype", dtype, workspace=workspace).code == 0
        found[dtype] = evaluate.report["texts"][0]["scores"]["the model"]["nats_per_token"]
    assert found["auto"] == pytest.approx(loss, rel=1e-9)
    assert found["float32"] != pytest.approx(loss, rel=1e-6)
    assert found["float32"] == pytest.approx(loss, rel=1e-2)


def test_figures_that_are_no_numbers_are_no_figures(evaluate: Any, workspace: Any) -> None:
    assert workspace.train(max_iters=2).code == 0
    path = workspace.models / "best_model.pt"
    content = torch.load(path, weights_only=True)
    content["model"]["final_norm.weight"] *= 1e6  # more than float16 holds
    torch.save(content, path)
    outcome = evaluate("--dtype", "float16", workspace=workspace)
    assert outcome.code == 2
    assert "are no numbers. Try --dtype float32" in outcome.err
    assert evaluate.report is None


def test_a_text_larger_than_the_memory(evaluate: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(2**42)  # takes no room on the disk
    outcome = evaluate("--text", path)
    assert outcome.code == 2
    assert "does not fit in memory" in outcome.err


def test_a_tokenizer_larger_than_the_model(evaluate: Any, workspace: Any) -> None:
    small = GPT(ModelConfig(1, 1, 8, 8, 290))
    sha256 = load_tokenizer(workspace.tokenizer)[1]["sha256"]
    content = model_content(small, sha256, 1, {})
    save_checkpoint(workspace.models / "best_model.pt", content)
    outcome = evaluate(workspace=workspace)
    assert outcome.code == 2
    assert "tokens, and the model knows 290" in outcome.err


def test_a_stride_is_stated_and_used(evaluate: Any, unread: Path) -> None:
    nats = {}
    for stride in (32, 8):
        outcome = evaluate("--text", unread, "--stride", stride)
        assert outcome.code == 0, outcome.err
        assert f"context 32, stride {stride}" in outcome.out
        assert evaluate.report["stride"] == stride
        nats[stride] = evaluate.report["texts"][0]["scores"]["the model"]["nats"]
    assert nats[8] != nats[32]


def test_a_text_is_counted_as_it_stands(evaluate: Any, unread: Path, tokenizer: Tokenizer) -> None:
    lines = unread.read_text(encoding="utf-8").splitlines()
    assert evaluate("--text", unread).code == 0
    (text,) = evaluate.report["texts"]
    assert text["lines"] == 3
    assert text["characters"] == sum(len(line) + 1 for line in lines)
    assert text["bytes"] == unread.stat().st_size
    assert text["tokens"] == sum(len(tokenizer.encode(line).ids) + 1 for line in lines)
    scores = text["scores"]["the model"]
    assert scores["bits_per_byte"] == pytest.approx(scores["nats"] / math.log(2) / text["bytes"])
    assert scores["nats_per_token"] == pytest.approx(scores["nats"] / text["tokens"])


def test_line_ends_blank_lines_and_a_byte_order_mark_change_nothing(
    evaluate: Any, unread: Path, tmp_path: Path
) -> None:
    lines = unread.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "windows.txt"
    other.write_bytes(b"\xef\xbb\xbf" + "\r\n \t\r\n\r\n".join(["", *lines]).encode("utf-8"))
    outcome = evaluate("--text", unread, other)
    assert outcome.code == 0, outcome.err
    one, two = evaluate.report["texts"]
    assert (one.pop("path"), two.pop("path")) == (str(unread), str(other))
    assert one == two
    assert outcome.out.count("the model ") == 2


# -------------------------------------------------------------------- the Goldfish measure


SENTENCES = [
    "Казан шәһәре матур һәм зур.",
    "  Яшел бакча үсә, матур башкала.\t",
    "Һәм",
    "а",
    *["Елга буенда", "Яшел бакча үсә, матур"] * 4,  # more than one batch, of many lengths
]


def test_goldfish_by_hand(
    evaluate: Any, model: GPT, tokenizer: Tokenizer, log_p: Any, tmp_path: Path
) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES), encoding="utf-8")
    bits, characters = 0.0, 0
    for sentence in map(str.strip, SENTENCES):
        half = len(sentence) // 2
        ids = [BOS_ID, *tokenizer.encode(sentence).ids]
        assert len(ids) <= model.config.block_size
        rows = log_p(model, ids)
        skipped = len(tokenizer.encode(sentence[:half]).ids) if half else 0
        for place in range(1 + skipped, len(ids)):
            bits -= float(rows[place - 1, ids[place]]) / math.log(2)
        characters += len(sentence) - half
    outcome = evaluate("--goldfish", path)
    assert outcome.code == 0, outcome.err
    found = evaluate.report["goldfish"]
    assert evaluate.report["texts"] == []
    assert found["sentences"] == len(SENTENCES)
    assert found["characters"] == characters
    assert found["bits"] == pytest.approx(bits, rel=1e-6)
    assert found["bits_per_sentence"] == pytest.approx(bits / len(SENTENCES), rel=1e-6)
    assert found["bits_per_character"] == pytest.approx(bits / characters, rel=1e-6)
    own = [f"{bits / len(SENTENCES):.1f}", f"{bits / characters:.2f}"]
    assert any(line.split() == ["the", "model", *own] for line in outcome.out.splitlines())


def test_published_models_stand_beside_with_their_source(evaluate: Any, unread: Path) -> None:
    outcome = evaluate("--goldfish", unread, "--text", unread)
    assert outcome.code == 0
    rows = [" ".join(line.split()) for line in outcome.out.splitlines()]
    for name, (sentence, character) in PUBLISHED.items():
        assert f"{name} {sentence:.1f} {character:.2f}" in rows
    assert "Goldfish 100 MB, 125 M 89.4 1.37" in rows
    assert len(PUBLISHED) == 9
    for words in ("2408.10441", "FLORES-200", "dev and devtest", "encyclopaedia"):
        assert words in outcome.out
    assert len(evaluate.report["texts"]) == 1


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_bits_agree_with_one_another(name: str) -> None:
    sentence, character = PUBLISHED[name]
    assert sentence / 65.1 == pytest.approx(character, abs=0.0051)


# -------------------------------------------------------------------- baselines


def test_baselines_stand_in_one_table(evaluate: Any, trained: Any, unread: Path) -> None:
    outcome = evaluate("--baselines", "--text", trained.data / "val.txt", unread)
    assert outcome.code == 0, outcome.err
    loaded = load_training_text(trained.data, trained.tokenizer)
    train = (trained.data / "train.txt").read_bytes()
    val, other = evaluate.report["texts"]
    names = ["the model", "5-grams, Kneser-Ney", "unigrams", "xz -9e"]
    assert sorted(val["scores"]) == sorted(other["scores"]) == sorted(names)
    lines = [line for line in outcome.out.splitlines() if line.startswith("  ")]
    shown = [line for line in lines if any(line.startswith(f"  {name} ") for name in names)]
    assert [line[2:34].strip() for line in shown] == names * 2

    scores = val["scores"]
    assert scores["unigrams"]["nats_per_token"] == pytest.approx(
        trained.run["result"]["unigram_loss"]
    )
    grams = KneserNey(loaded.train, loaded.vocab_size)
    assert scores["5-grams, Kneser-Ney"]["nats"] == pytest.approx(grams.nats(loaded.val))
    for text, path in ((val, trained.data / "val.txt"), (other, unread)):
        bits = xz_bits(train, [path.read_bytes()])[0]
        assert text["scores"]["xz -9e"]["bits_per_byte"] == pytest.approx(
            bits / path.stat().st_size, rel=0.05
        )
        for score in text["scores"].values():
            assert score["bits_per_character"] == pytest.approx(
                score["nats"] / math.log(2) / text["characters"]
            )
    unigrams = other["scores"]["unigrams"]["nats_per_token"]
    assert unigrams > scores["unigrams"]["nats_per_token"]


def test_baselines_go_with_the_validation_split_by_default(
    evaluate: Any, trained: Any, unread: Path
) -> None:
    outcome = evaluate("--baselines", "--goldfish", unread)
    assert outcome.code == 0, outcome.err
    (text,) = evaluate.report["texts"]
    assert text["path"] == str(trained.data / "val.txt")
    assert len(text["scores"]) == 4


def test_baselines_need_the_training_text(evaluate: Any, unread: Path, tmp_path: Path) -> None:
    outcome = evaluate("--baselines", "--text", unread, "--data-dir", tmp_path)
    assert outcome.code == 2
    assert "train.txt is not there" in outcome.err
    assert len(outcome.complaints) == 1
    assert "computed on" not in outcome.out  # said before anything is computed


# -------------------------------------------------------------------- texts that were read


def test_a_text_from_the_training_split_is_refused(
    evaluate: Any, trained: Any, unread: Path, tmp_path: Path
) -> None:
    lines = (trained.data / "train.txt").read_text(encoding="utf-8").splitlines()[:4]
    path = tmp_path / "known.txt"
    known = "".join(f"  {line}\t\n" for line in lines)
    path.write_text(known + unread.read_text(encoding="utf-8"), encoding="utf-8")
    for flag in ("--text", "--goldfish"):
        outcome = evaluate(flag, path)
        assert outcome.code == 2
        assert len(outcome.complaints) == 1
        assert "known.txt: 4 of 7 lines (57.1%) are in" in outcome.err
        assert evaluate.report is None


@pytest.mark.parametrize(("known", "share"), [(3, "3 of 6 lines (50.0%)"), (1, "1 of 4 lines")])
def test_some_lines_from_the_training_split_are_a_warning(
    known: int, share: str, evaluate: Any, trained: Any, unread: Path, tmp_path: Path
) -> None:
    lines = (trained.data / "train.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "partly.txt"
    text = "".join(lines[:known]) + unread.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    outcome = evaluate("--text", path)
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.out.splitlines() if "Warning" in line and share in line]
    assert evaluate.report["texts"][0]["lines_in_training_text"] == known


def test_an_unread_text_gives_no_warning(evaluate: Any, unread: Path) -> None:
    outcome = evaluate("--text", unread)
    assert "Warning" not in outcome.out
    assert evaluate.report["texts"][0]["lines_in_training_text"] == 0


def test_the_validation_split_is_scored_though_training_holds_its_lines(evaluate: Any) -> None:
    outcome = evaluate()
    assert outcome.code == 0
    assert "60 of 60 lines (100.0%)" in outcome.out


def test_without_a_training_text_it_says_that_nothing_was_compared(
    evaluate: Any, unread: Path, tmp_path: Path
) -> None:
    outcome = evaluate("--text", unread, "--data-dir", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "train.txt is not there" in outcome.out
    assert evaluate.report["texts"][0]["lines_in_training_text"] is None


# -------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is not there"),
        ("folder", "is a folder"),
        (b"", "is empty"),
        (b"\r\n \t\n\n", "is empty"),
        ("Казан".encode("cp1251"), "is not UTF-8 text (byte 0)"),
        ("Казан".encode("utf-16"), "is not UTF-8 text"),
        ("Ка".encode() + b"\xed\xa0\x80", "is not UTF-8 text (byte 4)"),  # a lone surrogate
        (b"Kazan\0\n", "holds NUL bytes"),
    ],
)
@pytest.mark.parametrize("flag", ["--text", "--goldfish"])
def test_a_bad_text_gives_one_line(
    flag: str, content: Any, complaint: str, evaluate: Any, tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    outcome = evaluate(flag, path)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert outcome.err.startswith("error: ")
    assert "text.txt" in outcome.err
    assert complaint in outcome.err
    assert outcome.out == ""
    assert evaluate.report is None


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--stride", "0"], "--stride 0: must be at least 1"),
        (["--stride", "33"], "--stride 33: must be at most the context (32)"),
        (["--stride", "half"], "--stride half: must be a whole number"),
        (["--device", "tpu"], "--device tpu: must be one of"),
        (["--dtype", "int8"], "--dtype int8: must be one of"),
        (["--txt=x"], "--txt"),
        (["--text"], "--text"),
        (["--model", "nowhere.pt"], "nowhere.pt is not there"),
        (["--model", "."], "is not there"),
        (["--tokenizer-dir", "nowhere"], "tokenizer.json is not there"),
        (["--json", "."], "--json .: is a folder"),
    ],
)
def test_a_wrong_flag_gives_one_line(flags: list[str], complaint: str, evaluate: Any) -> None:
    outcome = evaluate(*flags)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert complaint in outcome.err
    assert evaluate.report is None


def test_another_tokenizer_gives_one_line(evaluate: Any, trained: Any, tmp_path: Path) -> None:
    workspace = trained.copy(tmp_path / "copy")
    assert workspace.stage2("--vocab-size", 300).code == 0
    outcome = evaluate(workspace=workspace)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "the model was trained with tokenizer" in outcome.err


def test_it_starts_as_a_module(child_environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.evaluate", "--text", str(tmp_path / "nowhere.txt")],
        cwd=PROJECT_DIR,
        env=child_environment | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.decode("utf-8").count("\n") == 1
    assert b"nowhere.txt is not there" in done.stderr
