"""From sources to `data/`: read, clean, drop duplicates, split, write, and say where it came from.

Two passes, so that memory stays flat: the first cleans every sentence into a temporary file
and remembers one number for each, the second deals them out to train.txt and val.txt.
"""

from __future__ import annotations

import hashlib
import os
import random
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from config import SAMPLE_DIR, SAMPLE_NAME
from pipeline import archive
from pipeline.clean import TATAR_LETTERS, Cleaner, sentences, without_id
from pipeline.errors import CorpusError, TatarGPTError
from pipeline.files import (
    atomic_write,
    errors_name,
    json_bytes,
    read_json,
    sha256_of,
    sha256_of_json,
    shown,
)

MANIFEST, TRAIN, VAL = "manifest.json", "train.txt", "val.txt"

# Validation needs some 2,000 sentences to be worth reading, and no more than some thousands.
SMALL_CORPUS, SMALL_VAL_FRACTION, VAL_FRACTION = 100_000, 0.05, 0.005

EXAMPLES, EXAMPLE_SEED = 10, 1337


@dataclass(frozen=True)
class Source:
    """One file that sentences are read from."""

    name: str
    path: Path
    sha256: str
    url: str = ""
    licence: str = ""
    # Running text is cut into sentences; a Leipzig archive or the sample is cut already.
    running_text: bool = False

    def described(self) -> dict[str, Any]:
        where = {"url": self.url} if self.url else {"file": shown(self.path)}
        size = {"bytes": self.path.stat().st_size} if self.path.exists() else {}
        licence = {"licence": self.licence} if self.licence else {}
        return {"name": self.name, "sha256": self.sha256, **where, **size, **licence}


@dataclass
class Reservoir:
    """Ten random items of a stream whose length is not known beforehand."""

    items: list[Any] = field(default_factory=list)
    seen: int = 0
    # Examples to look at, not secrets.
    rng: random.Random = field(default_factory=lambda: random.Random(EXAMPLE_SEED))  # noqa: S311

    def offer(self, item: Any) -> None:
        self.seen += 1
        if len(self.items) < EXAMPLES:
            self.items.append(item)
        elif (place := self.rng.randrange(self.seen)) < EXAMPLES:
            self.items[place] = item


@dataclass
class Tally:
    """What the first pass counted."""

    read: int = 0
    kept: int = 0
    letters: int = 0
    tatar_letters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    # Where each kept sentence falls in [0, 1); those below the fraction are for validation.
    places: array[float] = field(default_factory=lambda: array("d"))
    kept_examples: Reservoir = field(default_factory=Reservoir)
    dropped_examples: Reservoir = field(default_factory=Reservoir)

    def drop(self, reason: str, text: str) -> None:
        self.dropped[reason] += 1
        self.dropped_examples.offer((reason, text))


def sample_sources() -> list[Source]:
    paths = sorted(SAMPLE_DIR.glob("*.txt"))
    if not paths:
        raise CorpusError(f"{shown(SAMPLE_DIR)} holds no .txt file. Get the project again")
    return [Source(SAMPLE_NAME, path, sha256_of(path), licence="CC0 1.0") for path in paths]


def file_source(path: Path) -> Source:
    running = archive.input_ending(path) not in archive.ARCHIVE_ENDINGS
    return Source(path.name, path, sha256_of(path), running_text=running)


def split_place(sentence: str) -> float:
    """Where a sentence falls in [0, 1), from its letters and digits alone.

    Variants in case and punctuation share a place, so they land on one side of the split; a
    sentence that is for validation with some fraction is so with every larger one.
    """
    key = "".join(filter(str.isalnum, sentence.casefold()))
    digest = hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def corpus_key(hashes: list[str], language: str, val_fraction: float | None) -> str:
    """Changes with the texts, the settings and the code that decide what `data/` holds."""
    folder = Path(__file__).parent
    code = [sha256_of(folder / f"{n}.py") for n in ("archive", "clean", "corpus", "language")]
    return sha256_of_json([hashes, language, val_fraction, code])


def read_manifest(data_dir: Path) -> dict[str, Any]:
    """The manifest of a corpus that is whole, {} where there is none."""
    try:
        manifest = read_json(data_dir / MANIFEST)
        whole = all(sha256_of(data_dir / n) == manifest["sha256"][n] for n in (TRAIN, VAL))
        named = {"key", "corpus"} <= manifest.keys()
        named = named and all({"name", "sha256"} <= source.keys() for source in manifest["sources"])
    except (OSError, TatarGPTError, KeyError, TypeError, AttributeError):
        return {}
    return manifest if whole and named else {}


def prepare(
    sources: list[Source],
    data_dir: Path,
    *,
    corpus: str,
    language: str = "tt",
    val_fraction: float | None = None,
    fallback: str | None = None,
) -> tuple[dict[str, Any], Tally]:
    """Clean and split the sources into `data_dir`. Returns the manifest and what was counted.

    Nothing in `data_dir` changes before all of it is written; the manifest comes last and
    carries the hashes of both texts, so a crash between two renames is noticed by the next run.
    Raises CorpusError where nothing usable is left.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    cleaned = data_dir / "cleaned.tmp"
    cleaner, tally = Cleaner(language), Tally()
    try:
        with errors_name(data_dir), cleaned.open("wb") as file:
            _clean(sources, cleaner, tally, file)
        _refuse_empty(tally, corpus)
        fraction = val_fraction or (
            SMALL_VAL_FRACTION if tally.kept < SMALL_CORPUS else VAL_FRACTION
        )
        in_val = sum(place < fraction for place in tally.places)
        if not 0 < in_val < tally.kept:
            raise CorpusError(
                f"of {tally.kept:,} usable sentences in {corpus}, {in_val:,} fall to validation "
                f"at --val-fraction {fraction:g}; both sides need some. Give more text, or "
                "another --val-fraction"
            )
        # Renamed in the opposite order: the manifest last.
        with (
            errors_name(data_dir),
            atomic_write(data_dir / MANIFEST) as manifest_file,
            atomic_write(data_dir / VAL) as val,
            atomic_write(data_dir / TRAIN) as train,
        ):
            sizes, hashes = _split(cleaned, tally.places, fraction, train, val)
            manifest = {
                "corpus": corpus,
                "built_in_sample": corpus == SAMPLE_NAME,
                "fallback": fallback,
                "sources": [source.described() for source in sources],
                "language": language,
                "seed": None,  # the split is a hash of the sentence
                "val_fraction": fraction,
                "lines": {
                    "read": tally.read,
                    "repaired": dict(cleaner.repaired),
                    "dropped": dict(tally.dropped),
                    "kept": tally.kept,
                    "train": tally.kept - in_val,
                    "val": in_val,
                },
                "characters": {"train": sizes[0], "val": sizes[1]},
                "tatar_letter_share": round(tally.tatar_letters / max(tally.letters, 1), 4),
                "sha256": {TRAIN: hashes[0], VAL: hashes[1]},
                "key": corpus_key([s.sha256 for s in sources], language, val_fraction),
            }
            manifest_file.write(json_bytes(manifest))
            # A full disk must show before the first of the three is renamed.
            for whole in (train, val, manifest_file):
                whole.flush()
                os.fsync(whole.fileno())
    finally:
        cleaned.unlink(missing_ok=True)
    return manifest, tally


def _clean(sources: list[Source], cleaner: Cleaner, tally: Tally, file: IO[bytes]) -> None:
    seen: set[int] = set()
    tatar = frozenset(TATAR_LETTERS).__contains__
    with tqdm(unit=" lines", unit_scale=True, disable=None, desc="Cleaning") as bar:
        for source in sources:
            for sentence in _sentences(source, tally):
                tally.read += 1
                if not tally.read & 0x3FF:
                    bar.update(0x400)
                text = cleaner.normalise(sentence)
                if reason := cleaner.reason_to_drop(text):
                    tally.drop(reason, text)
                    continue
                data = text.encode("utf-8")
                # 64 bits: a million sentences collide once in 37 million corpora.
                fingerprint = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
                if fingerprint in seen:
                    tally.drop("duplicate", text)
                    continue
                seen.add(fingerprint)
                file.write(data + b"\n")
                tally.kept += 1
                tally.letters += sum(map(str.isalpha, text))
                tally.tatar_letters += sum(map(tatar, text))
                tally.places.append(split_place(text))
                tally.kept_examples.offer(text)


def _sentences(source: Source, tally: Tally) -> Iterator[str]:
    lines = bad = 0
    for raw in archive.read_lines(source.path):
        lines += 1
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            bad += 1
            tally.read += 1
            tally.drop("invalid UTF-8", raw.decode("utf-8", errors="replace")[:200])
            continue
        line = without_id(line)
        if source.running_text:
            yield from sentences(line)
        elif line.strip() or source.url:
            yield line
    # The first bytes may look right and the rest be of another encoding.
    if bad > archive.MAX_BAD_LINES * lines:
        raise archive.too_damaged(source.path, bad, lines)


def _refuse_empty(tally: Tally, corpus: str) -> None:
    if not tally.read:
        raise CorpusError(f"{corpus} is empty. Give a text with sentences in it")
    if not tally.kept:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in tally.dropped.most_common())
        raise CorpusError(
            f"{corpus} has no usable line: all {tally.read:,} were dropped ({reasons}). "
            "Give Tatar text, or --language any for another language"
        )


def _split(
    cleaned: Path, places: array[float], fraction: float, train: IO[bytes], val: IO[bytes]
) -> tuple[list[int], list[str]]:
    """Deal the lines out. Returns characters and hashes of train and validation."""
    files, sizes = (train, val), [0, 0]
    digests = (hashlib.sha256(), hashlib.sha256())
    with cleaned.open("rb") as lines:
        for line, place in zip(lines, places, strict=True):
            side = int(place < fraction)
            files[side].write(line)
            digests[side].update(line)
            sizes[side] += len(line.decode("utf-8")) - 1
    return sizes, [digest.hexdigest() for digest in digests]
