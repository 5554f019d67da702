"""Checkpoint files: whole or not there, and nothing in them that runs."""

from __future__ import annotations

import contextlib
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from config import ModelConfig
from model import GPT
from pipeline.checkpoint import (
    FORMAT,
    build_model,
    load_checkpoint,
    model_content,
    save_checkpoint,
)
from pipeline.errors import CheckpointError, ModelNotFoundError

CONFIG = ModelConfig(1, 1, 16, 16, 50)


@pytest.fixture
def content() -> dict[str, Any]:
    torch.manual_seed(0)
    return model_content(GPT(CONFIG), "f" * 64, 7, {"corpus": "primer"})


def test_a_model_comes_back_as_it_was(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.pt"
    save_checkpoint(path, content | {"val_loss": 1.5})
    model = build_model(load_checkpoint(path), path)
    assert model.config == CONFIG
    assert model.card == {
        "corpus": "primer", "step": 7, "val_loss": 1.5, "tokenizer_sha256": "f" * 64
    }  # fmt: skip
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, content["model"][name])
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_a_checkpoint_of_the_first_format_is_still_read() -> None:
    """Written by the first version that had a format number; its logits were kept with it."""
    path = Path(__file__).with_name("format_1.pt")
    content = load_checkpoint(path)
    assert content["format"] == 1
    model = build_model(content, path).eval()
    with torch.no_grad():
        logits = model(content["idx"])
    torch.testing.assert_close(logits, content["logits"], rtol=1e-4, atol=1e-5)


class Unwritable:
    def __reduce__(self) -> Any:
        raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_the_old_file(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, content)
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, content | {"later": Unwritable()})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # open, not yet with
def test_ctrl_c_in_a_write_is_ctrl_c(content: dict[str, Any], tmp_path: Path) -> None:
    """PyTorch's writer turns what interrupts it into a RuntimeError of 35 lines."""
    path = tmp_path / "model.pt"
    save_checkpoint(path, content)
    large = content | {"later": torch.zeros(16_000_000)}
    for microseconds in range(1_000, 20_000, 1_000):
        before_timer = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                save_checkpoint(path, large)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before_timer)
        assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
        load_checkpoint(path)


@pytest.mark.parametrize("damage", ["cut short", "cut far", "zeros within"])
def test_a_damaged_file_is_named(damage: str, content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, content | {"later": torch.ones(100_000)})
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut short": whole[:-10],
            "cut far": whole[:20_000],
            "zeros within": whole[:middle] + bytes(64) + whole[middle + 64 :],
        }[damage]
    )
    with pytest.raises(CheckpointError, match=r"model\.pt cannot be read: it is damaged"):
        load_checkpoint(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="is not there"):
        load_checkpoint(tmp_path / "model.pt")
    with pytest.raises(ModelNotFoundError):
        load_checkpoint(tmp_path)  # a folder is no model


@pytest.mark.parametrize("later", [FORMAT + 1, "another"])
def test_a_later_format_is_refused(later: Any, content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(content | {"format": later}, path)
    with pytest.raises(CheckpointError, match=f"has format {later}"):
        load_checkpoint(path)


class Command:
    """What a malicious checkpoint holds: something that runs on loading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_nothing_in_a_file_is_ever_run(kind: str, content: dict[str, Any], tmp_path: Path) -> None:
    path, trace = tmp_path / "model.pt", tmp_path / "it ran"
    poisoned = content | {"card": Command(trace)}
    if kind == "torch":
        torch.save(poisoned, path)
    else:
        path.write_bytes(pickle.dumps(poisoned))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "foreign",
    [
        {"model": {}, "optimizer": {}, "model_args": {}, "iter_num": 5},
        {"transformer.wte.weight": torch.zeros(3, 3)},
        torch.zeros(3),
        [1, 2, 3],
        None,
    ],
)
def test_checkpoints_of_other_programs_are_refused(foreign: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(foreign, path)
    with pytest.raises(CheckpointError, match="of another program"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"n_layer": 2}},
        {"config": {"n_layer": "two"}},
        {"config": {"layers": 2}},
        {"config": {"n_head": 3, "n_embd": 16}},
        {"config": None},
        {"model": {}},
        {"model": None},
        {"config": {"n_layer": 10**9}},
        {"config": {"block_size": 10**7}},
    ],
)
def test_contents_that_contradict_themselves_are_refused(
    change: dict[str, Any], content: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, content | change)
    with pytest.raises(CheckpointError, match=r"model\.pt holds a network of another shape"):
        build_model(load_checkpoint(path), path)


@pytest.mark.parametrize(
    "change",
    [
        {"card": None},
        {"card": {"unigram_loss": "low"}},
        {"step": "last"},
        {"val_loss": [1.0]},
        {"tokenizer_sha256": 5},
    ],
)
def test_values_of_another_kind_are_refused(
    change: dict[str, Any], content: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, content | change)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_weights_that_are_no_numbers_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content["model"]["final_norm.weight"][0] = float("nan")
    save_checkpoint(path, content)
    with pytest.raises(CheckpointError, match="no numbers"):
        build_model(load_checkpoint(path), path)
