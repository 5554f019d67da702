"""Stage 1: get a corpus, clean it, split it into data/train.txt and data/val.txt.

python 01_prepare_data.py                      the Leipzig corpus tat_mixed_2015_1M
python 01_prepare_data.py --corpora all        the largest size of every Leipzig family
python 01_prepare_data.py --input my_book.txt  your own text
python 01_prepare_data.py --sample             the built-in sample; needs no internet
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

from config import DEFAULT_CORPUS, LEIPZIG_LARGEST, SAMPLE_NAME, ConfigError, CorpusConfig
from pipeline import archive, download, flags
from pipeline.command import DONE, command
from pipeline.corpus import (
    Source,
    Tally,
    corpus_key,
    file_source,
    prepare,
    read_manifest,
    sample_sources,
)
from pipeline.errors import CorpusError, NotAvailable
from pipeline.files import alone_in, sha256_of, shown

_CORPUS_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LEIPZIG_LICENCE = "CC BY 4.0, Leipzig Corpora Collection"


@command
def main(argv: list[str] | None = None) -> int:
    config = read_flags(argv)
    with alone_in(config.data_dir):
        return prepare_data(config)


def prepare_data(config: CorpusConfig) -> int:
    """Decide between what is there, the corpus asked for and the sample; then prepare it."""
    kept = read_manifest(config.data_dir)
    redo = config.force or config.show_examples
    if not redo and kept and is_current(config, kept):
        return unchanged(config)

    fallback = None
    may_fall_back = config.fallback_sample and asks_for_the_default(config)
    if may_fall_back and kept.get("fallback") and not config.force:
        # data/ is an earlier fallback: only --force replaces what may be trained on by now.
        url = download.archive_url(DEFAULT_CORPUS, config.base_url)
        fallback = download.probe(url)
        if not fallback:
            print(say_what_force_replaces(config))
            return DONE
        print(f"Stage 1: {url} still cannot be had ({fallback}); the {SAMPLE_NAME} stays.")
        sources = sample_sources()
        if not redo and kept["key"] == key_of(config, sources):
            return unchanged(config)
    else:
        try:
            sources = gather(config)
        except NotAvailable as reason:
            if not may_fall_back:
                raise
            fallback = str(reason).split(". ")[0]
            if kept.get("corpus") == DEFAULT_CORPUS:
                print(f"Stage 1: {fallback}\n{shown(config.data_dir)} keeps {DEFAULT_CORPUS}.")
                return DONE
            print(loud_fallback(fallback), flush=True)
            sources = sample_sources()

    is_sample = config.sample or fallback is not None
    names = SAMPLE_NAME if is_sample else " + ".join(source.name for source in sources)
    print(f"Stage 1: preparing {names}", flush=True)
    try:
        manifest, tally = prepare(
            sources,
            config.data_dir,
            corpus=names,
            language=config.language,
            val_fraction=config.val_fraction,
            fallback=fallback,
        )
    except archive.DamagedArchive as error:
        raise after_damage(error, sources) from None
    print(table(manifest, config.data_dir))
    if config.show_examples:
        print(examples(tally))
    return DONE


def read_flags(argv: list[str] | None) -> CorpusConfig:
    given = flags.parse(argv, (__doc__ or "").splitlines()[0], {CorpusConfig: None})
    if "base_url" not in given and os.environ.get("LEIPZIG_BASE_URL"):
        given["base_url"] = os.environ["LEIPZIG_BASE_URL"]
    config = CorpusConfig(**given)
    problems = []
    if not config.base_url.startswith(("http://", "https://")):
        problems.append(f"--base-url {config.base_url}: must begin with http:// or https://")
    for name in config.corpora:
        if not _CORPUS_NAME.fullmatch(name):
            problems.append(f"--corpora {name}: must be a Leipzig name such as {DEFAULT_CORPUS}")
    for file in config.input:
        if not archive.input_ending(Path(file)):
            problems.append(f"--input {file}: must end in {', '.join(archive.INPUT_ENDINGS)}")
        elif not Path(file).is_file():
            problems.append(f"--input {file}: there is no such file")
    if problems:
        raise ConfigError(problems)
    names = [n for c in config.corpora for n in (LEIPZIG_LARGEST if c == "all" else (c,))]
    return dataclasses.replace(config, corpora=tuple(dict.fromkeys(names)))


def asks_for_the_default(config: CorpusConfig) -> bool:
    return config.corpora == (DEFAULT_CORPUS,) and not config.input and not config.sample


def gather(config: CorpusConfig) -> list[Source]:
    """The files to read, downloaded where they are not on the disk yet."""
    if config.sample:
        return sample_sources()
    if config.input:
        return [file_source(Path(file)) for file in dict.fromkeys(config.input)]
    sources = []
    for name in config.corpora:
        path, sha256 = download.download_corpus(
            name, config.base_url, config.data_dir / "downloads"
        )
        url = download.archive_url(name, config.base_url)
        sources.append(Source(name, path, sha256, url, LEIPZIG_LICENCE))
    return sources


def key_of(config: CorpusConfig, sources: list[Source]) -> str:
    return corpus_key([s.sha256 for s in sources], config.language, config.val_fraction)


def is_current(config: CorpusConfig, kept: dict[str, Any]) -> bool:
    """Whether data/ is what these settings would make. Asks no server."""
    if config.sample or config.input:
        return bool(kept["key"] == key_of(config, gather(config)))
    recorded = {source["name"]: source["sha256"] for source in kept["sources"]}
    hashes = []
    for name in config.corpora:
        path = config.data_dir / "downloads" / f"{name}.tar.gz"
        # An archive that was deleted to save space need not come again.
        hashes.append(sha256_of(path) if path.exists() else recorded.get(name, ""))
    return bool(kept["key"] == corpus_key(hashes, config.language, config.val_fraction))


def unchanged(config: CorpusConfig) -> int:
    where = shown(config.data_dir)
    print(f"Stage 1: nothing has changed, {where} is kept (--force makes it anew)")
    return DONE


def after_damage(error: archive.DamagedArchive, sources: list[Source]) -> CorpusError:
    """A damaged download is deleted, so that the same command fetches it again."""
    if not any(source.url and source.path == error.path for source in sources):
        return error
    error.path.unlink(missing_ok=True)
    return CorpusError(
        f"{shown(error.path)} {error.trouble}. It has been deleted: the same command "
        "downloads it again"
    )


def loud_fallback(reason: str) -> str:
    bar = "!" * 78
    return (
        f"{bar}\n{DEFAULT_CORPUS} could not be had, so the {SAMPLE_NAME} takes its place.\n"
        f"Reason: {reason}.\n"
        f"A model trained on the {SAMPLE_NAME} shows that everything works, and little more.\n"
        f"To try the server again: bash run_pipeline.sh --force\n{bar}"
    )


def say_what_force_replaces(config: CorpusConfig) -> str:
    return (
        f"Stage 1: {DEFAULT_CORPUS} can be had again. {shown(config.data_dir)} holds the "
        f"{SAMPLE_NAME} and is kept; with --force {DEFAULT_CORPUS} replaces it, and then the "
        f"tokenizer and the model that were made from the {SAMPLE_NAME} are to be made anew"
    )


def table(manifest: dict[str, Any], data_dir: Path) -> str:
    lines, characters = manifest["lines"], manifest["characters"]
    total = max(lines["read"], 1)
    rows = [("lines read", f"{lines['read']:,}", "")]
    for reason, count in sorted(lines["dropped"].items(), key=lambda item: -item[1]):
        rows.append((f"  dropped: {reason}", f"{count:,}", f"{count / total:.2%}"))
    rows.append(("kept", f"{lines['kept']:,}", f"{lines['kept'] / total:.2%}"))
    rows.append(("  for training", f"{lines['train']:,}", ""))
    rows.append(("  for validation", f"{lines['val']:,}", f"at {manifest['val_fraction']:g}"))
    for repair, count in sorted(lines["repaired"].items(), key=lambda item: -item[1]):
        rows.append((f"  repaired: {repair}", f"{count:,}", f"{count / total:.2%}"))
    rows.append(("characters kept", f"{sum(characters.values()):,}", ""))
    rows.append(("Tatar letters (ә ө ү җ ң һ)", f"{manifest['tatar_letter_share']:.1%}", ""))
    body = "\n".join(f"{a:<34}{b:>14}{c:>10}" for a, b, c in rows)
    return f"{body}\nWritten to {shown(data_dir)}: train.txt, val.txt, manifest.json"


def examples(tally: Tally) -> str:
    kept = [f"  {text[:200]}" for text in tally.kept_examples.items]
    dropped = [f"  [{reason}] {text[:200]}" for reason, text in tally.dropped_examples.items]
    return "\n".join(["Kept, for example:", *kept, "Dropped, for example:", *(dropped or ["  -"])])


if __name__ == "__main__":
    sys.exit(main())
