"""The prepared corpus in data/, as the later stages read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import SAMPLE_NAME
from pipeline.errors import CorpusError
from pipeline.files import read_json, sha256_of, shown


@dataclass(frozen=True)
class PreparedCorpus:
    """train.txt and val.txt with the hashes of what they hold now."""

    train_path: Path
    val_path: Path
    train_sha256: str
    val_sha256: str
    name: str
    # What the manifest says of it: sentences, characters, licence; nothing where there is none.
    facts: dict[str, Any]

    @property
    def is_sample(self) -> bool:
        return SAMPLE_NAME in self.name


def load_corpus(data_dir: Path) -> PreparedCorpus:
    """What stage 1 left in `data_dir`. Raises CorpusError if it is missing or was changed."""
    hashes = {}
    for split in ("train", "val"):
        path = data_dir / f"{split}.txt"
        if not path.is_file():
            raise CorpusError(
                f"{shown(path)} is not there. Make it with: python 01_prepare_data.py"
            )
        hashes[split] = sha256_of(path)
    manifest_path = data_dir / "manifest.json"
    manifest = read_json(manifest_path) if manifest_path.is_file() else {}
    recorded = manifest.get("sha256")
    for split, sha256 in hashes.items():
        if manifest and not (isinstance(recorded, dict) and recorded.get(f"{split}.txt") == sha256):
            raise CorpusError(
                f"{shown(data_dir)}/{split}.txt is not what {shown(manifest_path)} describes. "
                "Prepare it anew with: python 01_prepare_data.py (or delete the manifest if you "
                "edited it)"
            )
    return PreparedCorpus(
        train_path=data_dir / "train.txt",
        val_path=data_dir / "val.txt",
        train_sha256=hashes["train"],
        val_sha256=hashes["val"],
        name=str(manifest.get("corpus", "a text of unknown origin")),
        facts=_facts(manifest),
    )


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        licences = dict.fromkeys(source["licence"] for source in manifest["sources"])
        return {
            "sentences": int(manifest["lines"]["train"]),
            "characters": int(manifest["characters"]["train"]),
            "licence": ", ".join(map(str, licences)),
        }
    except (KeyError, TypeError, ValueError):
        return {}


def count_lines(path: Path) -> int:
    """How many sentences `read_sentences` yields, without decoding them."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def read_sentences(path: Path) -> Iterator[str]:
    """The sentences of train.txt or val.txt, one by one, without their line ends."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")
    except UnicodeDecodeError:
        raise CorpusError(
            f"{shown(path)} is not UTF-8 text. Prepare it anew with: python 01_prepare_data.py "
            "--force"
        ) from None
