"""Stage 2 as a person calls it: what it writes, when it skips, what it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from config import SPECIAL_TOKENS
from pipeline.tokenizer import load_tokenizer

SKIPPED = "nothing has changed"


@pytest.fixture
def space(prepared: Any, tmp_path: Path) -> Any:
    """A corpus with its tokenizer, to do with as one likes; needs no torch."""
    return prepared.copy(tmp_path / "space")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -------------------------------------------------------------------------------- what it writes


def test_special_tokens_are_ids_0_to_3(prepared: Any) -> None:
    plain = Tokenizer.from_file(str(prepared.tokenizer / "tokenizer.json"))
    assert [plain.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert SPECIAL_TOKENS == ("<pad>", "<unk>", "<bos>", "<eos>")


def test_vocabulary_has_the_size_asked_for(prepared: Any) -> None:
    plain = Tokenizer.from_file(str(prepared.tokenizer / "tokenizer.json"))
    assert plain.get_vocab_size() == 320
    assert sorted(plain.get_vocab().values()) == list(range(320))


def test_config_describes_the_tokenizer(prepared: Any) -> None:
    tokenizer, facts = load_tokenizer(prepared.tokenizer)
    recorded = prepared.tokenizer_facts
    assert recorded.items() <= facts.items()
    assert facts["vocab_size"] == 320
    assert facts["sha256"] == sha256(prepared.tokenizer / "tokenizer.json")
    assert facts["corpus_sha256"] == sha256(prepared.data / "train.txt")
    assert facts["special_tokens"] == list(SPECIAL_TOKENS)
    ids = [facts[f"{name}_token_id"] for name in ("pad", "unk", "bos", "eos")]
    assert ids == [0, 1, 2, 3]
    val = (prepared.data / "val.txt").read_text(encoding="utf-8").splitlines()
    tokens = sum(len(tokenizer.encode(line).ids) for line in val)
    assert facts["chars_per_token"] == pytest.approx(sum(map(len, val)) / tokens)
    assert 0 < facts["words_kept_whole"] <= 1


def test_words_kept_whole_are_counted_on_validation_text(
    corpus_writer: Callable[..., None], sentences: Callable[..., list[str]], space: Any
) -> None:
    # "Казан" and "шәһәре" were learnt whole; "бакчаа" takes two tokens.
    corpus_writer(space.data, sentences(400, 1), ["Казан бакчаа шәһәре бакчаа"])
    assert space.stage2("--vocab-size", 1000).code == 0
    assert space.tokenizer_facts["words_kept_whole"] == 0.5


def test_report_names_the_measures(space: Any) -> None:
    outcome = space.stage2("--vocab-size", 320, "--force")
    assert outcome.code == 0
    facts = space.tokenizer_facts
    assert f"{facts['chars_per_token']:.3f}" in outcome.out
    assert f"{facts['words_kept_whole']:.1%}" in outcome.out
    assert facts["sha256"][:12] in outcome.out
    longest = next(line for line in outcome.out.splitlines() if "longest tokens" in line)
    assert "башкала" in longest


def test_two_runs_give_the_same_bytes(space: Any, run_script: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    outcome = run_script(
        "02_train_tokenizer", "--data-dir", space.data, "--tokenizer-dir", elsewhere,
        "--vocab-size", 320,
    )  # fmt: skip
    assert outcome.code == 0
    for name in ("tokenizer.json", "config.json"):
        assert (elsewhere / name).read_bytes() == (space.tokenizer / name).read_bytes()


def test_another_process_gives_the_same_bytes(
    space: Any, script_command: Any, child_environment: dict[str, str], tmp_path: Path
) -> None:
    # Another hash seed, another number of threads.
    elsewhere = tmp_path / "elsewhere"
    command = script_command(
        "02_train_tokenizer", "--data-dir", space.data, "--tokenizer-dir", elsewhere,
        "--vocab-size", 320,
    )  # fmt: skip
    environment = child_environment | {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    one, other = (folder / "tokenizer.json" for folder in (elsewhere, space.tokenizer))
    assert one.read_bytes() == other.read_bytes()


def test_it_learns_from_the_training_split_alone(
    corpus_writer: Callable[..., None], sentences: Callable[..., list[str]], space: Any
) -> None:
    before = (space.tokenizer / "tokenizer.json").read_bytes()
    corpus_writer(space.data, sentences(400, 1), ["Чистай Чистай Чистай"] * 60)
    assert space.stage2("--vocab-size", 320, "--force").code == 0
    assert (space.tokenizer / "tokenizer.json").read_bytes() == before


# -------------------------------------------------------------------------------- once and again


def test_nothing_is_done_twice(space: Any, content_of: Any) -> None:
    before = content_of(space.tokenizer)
    outcome = space.stage2("--vocab-size", 320)
    assert outcome.code == 0
    assert SKIPPED in outcome.out
    assert content_of(space.tokenizer) == before


@pytest.mark.parametrize("reason", ["force", "text", "vocabulary", "no config", "other file"])
def test_it_is_done_again_when_there_is_a_reason(
    reason: str,
    space: Any,
    corpus_writer: Callable[..., None],
    sentences: Callable[..., list[str]],
) -> None:
    more: list[object] = ["--vocab-size", 320]
    if reason == "force":
        more.append("--force")
    elif reason == "text":
        corpus_writer(space.data, sentences(401, 1), sentences(60, 2))
    elif reason == "vocabulary":
        more = ["--vocab-size", 310]
    elif reason == "no config":
        (space.tokenizer / "config.json").unlink()
    else:
        with (space.tokenizer / "tokenizer.json").open("a") as file:
            file.write("\n")
    outcome = space.stage2(*more)
    assert outcome.code == 0
    assert SKIPPED not in outcome.out
    assert space.tokenizer_facts["corpus_sha256"] == sha256(space.data / "train.txt")
    assert SKIPPED in space.stage2(*more[:2]).out


def test_a_file_date_is_no_reason(space: Any) -> None:
    (space.data / "train.txt").touch()
    (space.tokenizer / "tokenizer.json").touch()
    assert SKIPPED in space.stage2("--vocab-size", 320).out


def test_a_replaced_tokenizer_is_kept(space: Any) -> None:
    old = {
        name: (space.tokenizer / name).read_bytes() for name in ("tokenizer.json", "config.json")
    }
    short = sha256(space.tokenizer / "tokenizer.json")[:12]
    assert space.stage2("--vocab-size", 310).code == 0
    for name, content in old.items():
        assert (space.tokenizer / "replaced" / short / name).read_bytes() == content
        assert (space.tokenizer / name).read_bytes() != content
    assert load_tokenizer(space.tokenizer / "replaced" / short)[1]["vocab_size"] == 320


def test_the_same_tokenizer_made_anew_replaces_nothing(space: Any) -> None:
    assert space.stage2("--vocab-size", 320, "--force").code == 0
    assert not (space.tokenizer / "replaced").exists()


def test_a_small_text_gives_a_smaller_vocabulary_and_says_so(
    corpus_writer: Callable[..., None], empty_workspace: Any
) -> None:
    space = empty_workspace
    corpus_writer(space.data, ["Казан шәһәре", "Казан буенда"] * 3, ["Казан шәһәре анда"] * 20)
    outcome = space.stage2()
    assert outcome.code == 0
    size = space.vocab_size
    assert 260 < size < 300
    note = next(line for line in outcome.out.splitlines() if "Note" in line)
    assert "8,192" in note
    assert str(size) in note


# -------------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize("size", ["65536", "100", "259", "many"])
def test_vocabulary_sizes_that_cannot_work(size: str, space: Any, content_of: Any) -> None:
    before = content_of(space.root)
    outcome = space.stage2("--vocab-size", size)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert f"--vocab-size {size}: must be" in outcome.err
    assert content_of(space.root) == before


def test_limits_of_the_vocabulary_are_allowed(
    corpus_writer: Callable[..., None], empty_workspace: Any
) -> None:
    corpus_writer(empty_workspace.data, ["Казан шәһәре"] * 3, ["Казан"])
    assert empty_workspace.stage2("--vocab-size", 260).code == 0
    assert empty_workspace.vocab_size == 260
    assert empty_workspace.stage2("--vocab-size", 65_535).code == 0


def test_wrong_flags_are_told_all_at_once(space: Any) -> None:
    outcome = space.stage2("--vocab-size", "100", "--vocabulary", "--also")
    assert outcome.code == 2
    assert len(outcome.complaints) == 3
    for wrong in ("--vocab-size 100", "--vocabulary", "--also"):
        assert wrong in outcome.err


def test_a_mistake_with_line_breaks_is_told_in_one_line(space: Any) -> None:
    outcome = space.stage2("--vocab-size", "8\n192")
    assert outcome.code == 2
    assert outcome.complaints == ["error: --vocab-size 8 192: must be a whole number"]


def test_missing_corpus(empty_workspace: Any) -> None:
    outcome = empty_workspace.stage2()
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "train.txt is not there" in outcome.err
    assert "01_prepare_data.py" in outcome.err
    assert not empty_workspace.tokenizer.exists()


@pytest.mark.parametrize("kind", ["empty", "changed", "cp1251"])
def test_unusable_corpus_leaves_the_tokenizer_alone(
    kind: str, space: Any, content_of: Any, corpus_writer: Callable[..., None]
) -> None:
    if kind == "empty":
        corpus_writer(space.data, [], ["Казан"])
    elif kind == "changed":
        (space.data / "train.txt").write_text("Казан буенда\n", encoding="utf-8")
    else:
        (space.data / "train.txt").write_text("Казан буенда\n", encoding="cp1251")
        (space.data / "manifest.json").unlink()
    before = content_of(space.tokenizer)
    outcome = space.stage2("--vocab-size", 320)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "train.txt" in outcome.err
    assert content_of(space.tokenizer) == before


@pytest.mark.parametrize("content", [b"", b"{", b"no JSON", b'{"a": 1}', b"\xff\xfe\x00\x80"])
def test_damaged_tokenizer_gives_one_line(content: bytes, workspace: Any) -> None:
    (workspace.tokenizer / "tokenizer.json").write_bytes(content)
    outcome = workspace.stage3()
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "tokenizer.json" in outcome.err
    assert "02_train_tokenizer.py --force" in outcome.err
    assert not workspace.models.exists()
    # And the remedy works.
    assert workspace.stage2("--vocab-size", 320, "--force").code == 0


def test_a_truncated_tokenizer_is_made_anew_without_being_asked(space: Any) -> None:
    path = space.tokenizer / "tokenizer.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert space.stage2("--vocab-size", 320).code == 0
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_damaged_facts_give_one_line(content: bytes, workspace: Any) -> None:
    (workspace.tokenizer / "config.json").write_bytes(content)
    outcome = workspace.stage3()
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "config.json" in outcome.err


def test_a_tokenizer_of_another_program_is_refused(workspace: Any) -> None:
    path = workspace.tokenizer / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    vocab = content["model"]["vocab"]
    vocab["<bos>"], vocab["<eos>"] = 3, 2
    for token in content["added_tokens"]:
        token["id"] = vocab[token["content"]]
    content["added_tokens"].sort(key=lambda token: token["id"])
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    outcome = workspace.stage3()
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "<bos> as id 2" in outcome.err


def test_a_vocabulary_too_large_for_the_cache_is_refused(workspace: Any) -> None:
    path = workspace.tokenizer / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens([f"слово{i}" for i in range(65_536 - tokenizer.get_vocab_size())])
    tokenizer.save(str(path))
    outcome = workspace.stage3()
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "65,536" in outcome.err
    assert "65,535" in outcome.err
