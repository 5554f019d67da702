"""Models and tokenizers that fit together, and those that do not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from config import PROJECT_DIR, ConfigError
from pipeline.errors import CheckpointError, ModelNotFoundError, TokenizerError
from utils import generate_text, load_model, load_tokenizer, perplexity


@pytest.fixture(scope="module")
def other_tokenizer(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another vocabulary, learnt from the same text."""
    workspace = trained.copy(tmp_path_factory.mktemp("other") / "workspace")
    assert workspace.stage2("--vocab-size", 300).code == 0
    return workspace.tokenizer


def run_snippet(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_snippet_of_the_readme_works_as_written(
    trained: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    snippets = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
                if "load_model" in code]  # fmt: skip
    assert snippets
    monkeypatch.chdir(trained.root)
    for snippet in snippets:
        assert run_snippet(snippet)["text"].startswith("Казан шәһәре")


def test_the_snippet_of_the_interface_works_as_written(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root)
    names = run_snippet(
        "from utils import load_model, load_tokenizer, generate_text\n"
        'model, _ = load_model("models/best_model.pt")\n'
        "tokenizer, tok_config = load_tokenizer()\n"
        'text = generate_text(model, tokenizer, tok_config, prompt="Казан шәһәре", '
        "max_new_tokens=50, temperature=0.8)\n"
    )
    assert names["text"].startswith("Казан шәһәре")
    assert not names["model"].training
    assert names["tok_config"]["bos_token_id"] == 2


def test_a_model_comes_in_eval_mode_with_its_card(trained: Any) -> None:
    model, config = load_model(trained.models / "best_model.pt", "cpu")
    assert not model.training
    assert model.config == config
    assert vars(config) == trained.run["model"]
    result = trained.run["result"]
    assert model.card["corpus"] == "primer"
    assert model.card["preset"] == "tiny"
    assert model.card["step"] == result["best_step"]
    assert model.card["val_loss"] == pytest.approx(result["val_loss"])
    assert model.card["unigram_loss"] == pytest.approx(result["unigram_loss"])
    assert model.card["tokenizer_sha256"] == trained.tokenizer_facts["sha256"]


def test_the_last_state_of_a_run_is_a_model_too(trained: Any) -> None:
    model, _ = load_model(trained.models / "last.pt", "cpu")
    assert model.card["step"] == 200
    assert "val_loss" not in model.card


def test_model_and_tokenizer_work_without_anything_else(trained: Any, tmp_path: Path) -> None:
    for folder, name in (("models", "best_model.pt"), ("tokenizer", "tokenizer.json")):
        (tmp_path / folder).mkdir()
        shutil.copy(trained.root / folder / name, tmp_path / folder / name)
    model, _ = load_model(tmp_path / "models" / "best_model.pt", "cpu", tmp_path / "tokenizer")
    tokenizer, facts = load_tokenizer(tmp_path / "tokenizer")
    text = generate_text(model, tokenizer, facts, "Казан", temperature=0)
    assert text.startswith("Казан шәһәре")
    assert perplexity(model, tokenizer, text) < 3


def test_the_plain_librarys_tokenizer_is_recognised(trained: Any) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    plain = Tokenizer.from_file(str(trained.tokenizer / "tokenizer.json"))
    assert perplexity(model, plain, "Казан шәһәре.") > 1
    assert generate_text(model, plain, {}, "Казан").startswith("Казан")


# -------------------------------------------------------------------------------- another tokenizer


def both_named(error: Exception, trained: Any, other: Path) -> bool:
    own, wrong = (load_tokenizer(folder)[1]["sha256"] for folder in (trained.tokenizer, other))
    return own[:12] in str(error) and wrong[:12] in str(error)


def test_another_tokenizer_is_refused_on_loading(trained: Any, other_tokenizer: Path) -> None:
    with pytest.raises(TokenizerError) as caught:
        load_model(trained.models / "best_model.pt", "cpu", other_tokenizer)
    assert both_named(caught.value, trained, other_tokenizer)


@pytest.mark.parametrize("facts", ["its own", "the model's", "none"])
def test_another_tokenizer_is_refused_in_generating(
    facts: str, trained: Any, other_tokenizer: Path
) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    tokenizer, its_own = load_tokenizer(other_tokenizer)
    given = {
        "its own": its_own, "the model's": load_tokenizer(trained.tokenizer)[1], "none": {}
    }[facts]  # fmt: skip
    with pytest.raises(TokenizerError) as caught:
        generate_text(model, tokenizer, given, "Казан")
    assert both_named(caught.value, trained, other_tokenizer)


def test_facts_of_another_tokenizer_are_refused(trained: Any, other_tokenizer: Path) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    with pytest.raises(TokenizerError):
        generate_text(
            model, load_tokenizer(trained.tokenizer)[0], load_tokenizer(other_tokenizer)[1]
        )


@pytest.mark.parametrize("plain", [False, True])
def test_another_tokenizer_is_refused_in_scoring(
    plain: bool, trained: Any, other_tokenizer: Path
) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    tokenizer, _ = load_tokenizer(other_tokenizer)
    if plain:
        tokenizer = Tokenizer.from_file(str(other_tokenizer / "tokenizer.json"))
    with pytest.raises(TokenizerError) as caught:
        perplexity(model, tokenizer, "Казан")
    assert both_named(caught.value, trained, other_tokenizer)


def test_the_replaced_tokenizer_still_serves_its_model(trained: Any, other_tokenizer: Path) -> None:
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    with pytest.raises(TokenizerError) as caught:
        perplexity(model, load_tokenizer(other_tokenizer)[0], "Казан")
    # The message says where it lies.
    kept = re.search(r"tokenizer/(replaced/\w+)/", str(caught.value))
    assert kept
    old, facts = load_tokenizer(other_tokenizer / kept[1])
    assert generate_text(model, old, facts, "Казан", temperature=0).startswith("Казан шәһәре")


# -------------------------------------------------------------------------------- what is not there


def test_a_relative_path_is_looked_up_beside_the_project_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=re.escape(str(PROJECT_DIR / "no/model.pt"))):
        load_model("no/model.pt", "cpu")
    with pytest.raises(TokenizerError, match=re.escape(str(PROJECT_DIR / "no/tokenizer.json"))):
        load_tokenizer("no")


def test_a_path_in_the_working_folder_comes_first(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained.tokenizer, tmp_path / "sample_corpus")  # a name the project has too
    monkeypatch.chdir(tmp_path)
    assert load_tokenizer("sample_corpus")[1]["vocab_size"] == 320


def test_missing_files(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"run_pipeline\.sh"):
        load_model(tmp_path / "best_model.pt", "cpu")
    with pytest.raises(TokenizerError, match=r"run_pipeline\.sh"):
        load_model(trained.models / "best_model.pt", "cpu", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(share: float, trained: Any, tmp_path: Path) -> None:
    whole = (trained.models / "best_model.pt").read_bytes()
    path = tmp_path / "best_model.pt"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"best_model\.pt cannot be read"):
        load_model(path, "cpu")


def test_a_device_that_is_not_there(trained: Any) -> None:
    with pytest.raises(ConfigError, match="--device tpu"):
        load_model(trained.models / "best_model.pt", "tpu")


def test_a_model_works_in_float64_arithmetic_of_the_caller(trained: Any) -> None:
    """load_model gives plain float32 weights that one can do anything with."""
    model, _ = load_model(trained.models / "best_model.pt", "cpu")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    idx = torch.randint(4, 300, (1, 16))
    single = model(idx)
    torch.testing.assert_close(model.double()(idx).float(), single, rtol=1e-3, atol=1e-3)
