"""How well a trained model predicts texts, in figures that do not depend on its tokenizer.

    python -m tools.evaluate                              the validation split
    python -m tools.evaluate --text my.txt --baselines    a text of your own, beside baselines
    python -m tools.evaluate --goldfish flores.txt        beside published models

Bits a character and a byte compare models with different tokenizers; nats a token do not.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from config import PROJECT_DIR, Checked, ConfigError, setting
from model import GPT
from pipeline.baselines import ORDER, baseline_scores
from pipeline.batches import cached_tokens, encode_sentences
from pipeline.command import DONE, command
from pipeline.device import Compute, choose_compute, is_out_of_memory
from pipeline.errors import CorpusError, TatarGPTError
from pipeline.evaluate import Score
from pipeline.files import shown, write_json
from pipeline.flags import parse
from pipeline.prepared import load_corpus, read_sentences
from pipeline.scoring import GoldfishScore, Text, goldfish_score, read_text, strided_nats
from utils import load_model, load_tokenizer

MODEL = "the model"
DTYPES = ("float32", "bfloat16", "float16")

# Bits a sentence and a character of the second halves of FLORES-200 in Tatar, dev and devtest
# together, as the authors of Goldfish measured and published them. Their bits a sentence are
# divided here by 65.1 characters, the mean second half.
PUBLISHED_BY = "Goldfish (Chang et al. 2024, arXiv:2408.10441)"
PUBLISHED = {
    "unigrams": (146.6, 2.25),
    "bigrams": (107.2, 1.65),
    "Goldfish 5 MB, 39 M parameters": (123.0, 1.89),
    "Goldfish 10 MB, 39 M": (116.4, 1.79),
    "Goldfish 100 MB, 125 M": (89.4, 1.37),
    "Goldfish 1000 MB, 125 M": (76.7, 1.18),
    "MaLA-500, 10 B": (88.8, 1.36),
    "BLOOM, 7.1 B": (192.8, 2.96),
    "XGLM, 7.5 B": (227.3, 3.49),
}


@dataclass(frozen=True)
class EvaluateConfig(Checked):
    """What is scored, and how."""

    model: str = setting("models/best_model.pt", "checkpoint to score", metavar="FILE")
    text: tuple[str, ...] = setting(
        (),
        "UTF-8 text files, a sentence or document a line (default: val.txt in --data-dir)",
        metavar="FILE",
    )
    goldfish: str | None = setting(
        None,
        "a file of sentences (FLORES-200): the second half of each, given the first",
        metavar="FILE",
    )
    baselines: bool = setting(
        False, f"beside them: unigrams, {ORDER}-grams and xz that have read train.txt in --data-dir"
    )
    stride: int | None = setting(
        None, "tokens from one row to the next (default: the context of the model)", low=1
    )
    json: str | None = setting(None, "file that the figures are also written to", metavar="FILE")
    data_dir: Path = setting(PROJECT_DIR / "data", "where stage 1 wrote the corpus")
    tokenizer_dir: Path = setting(PROJECT_DIR / "tokenizer", "where stage 2 wrote the tokenizer")
    device: str = setting(
        "auto", "what computes; auto takes CUDA, then MPS, then the CPU",
        choices=("auto", "cpu", "cuda", "mps"),
    )  # fmt: skip
    dtype: str = setting(
        "auto", "arithmetic; auto takes that of the model's training", choices=("auto", *DTYPES)
    )

    def conflicts(self) -> list[str]:
        if self.json is not None and Path(self.json).is_dir():
            return [f"--json {self.json}: is a folder; give a file"]
        return []

    @property
    def texts(self) -> list[Path]:
        """The texts to score; none by default where --goldfish stands alone."""
        if self.text or (self.goldfish is not None and not self.baselines):
            return [Path(path) for path in self.text]
        return [self.data_dir / "val.txt"]


@command
def main(argv: list[str] | None = None) -> int:
    description = "Score a trained model, whatever its tokenizer."
    prog = "python -m tools.evaluate"
    config = EvaluateConfig(**parse(argv, description, {EvaluateConfig: None}, prog))
    texts = [read_text(path) for path in config.texts]
    sentences = read_text(Path(config.goldfish)) if config.goldfish is not None else None
    seen = [lines_seen(text, config.data_dir) for text in texts]
    seen_sentences = lines_seen(sentences, config.data_dir) if sentences else None
    corpus = load_corpus(config.data_dir) if config.baselines else None

    model, shape = load_model(config.model, config.device, config.tokenizer_dir)
    tokenizer, facts = load_tokenizer(config.tokenizer_dir)
    stride = shape.block_size if config.stride is None else config.stride
    if stride > shape.block_size:
        raise ConfigError([f"--stride {stride}: must be at most the context ({shape.block_size})"])
    compute = choose_arithmetic(model, config)
    print(f"{config.model}: {model.parameter_count():,} parameters, step {model.card['step']:,}")
    print(f"  computed on {compute.describe()}")

    report: dict[str, Any] = {
        "model": config.model,
        "parameters": model.parameter_count(),
        "step": model.card["step"],
        "tokenizer_sha256": facts["sha256"],
        "dtype": str(compute.dtype).removeprefix("torch."),
        "context": shape.block_size,
        "stride": stride,
    }
    try:
        encoded = [np.concatenate(list(encode_sentences(tokenizer, t.lines))) for t in texts]
        all_scores = [
            {MODEL: text.score(strided_nats(model, ids, stride, compute), text.targets(ids))}
            for text, ids in zip(texts, encoded, strict=True)
        ]
        if corpus:
            path, sha256 = corpus.train_path, corpus.train_sha256
            train = cached_tokens(path, sha256, tokenizer, facts["sha256"])
            others = baseline_scores(texts, encoded, train, path.read_bytes(), facts["vocab_size"])
            all_scores = [own | more for own, more in zip(all_scores, others, strict=True)]
        for text, scores in zip(texts, all_scores, strict=True):
            require_number(scores[MODEL].nats)
            show_scores(text, scores, f"context {shape.block_size}, stride {stride}")
        report["texts"] = list(map(text_report, texts, seen, all_scores))
        if sentences:
            result = goldfish_score(model, tokenizer, sentences.lines, compute)
            require_number(result.bits_per_sentence)
            show_goldfish(sentences, result, shape.block_size)
            report["goldfish"] = goldfish_report(sentences, seen_sentences, result)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TatarGPTError(
            "the memory does not hold this. Score a smaller text, or leave --baselines out"
        ) from None
    if config.json is not None:
        write_json(Path(config.json), report)
        print(f"\nWritten to {shown(Path(config.json))}")
    return DONE


def lines_seen(text: Text, data_dir: Path) -> int | None:
    """How many lines of a text the training split holds; None where there is no such split.

    Some are a warning: short sentences recur. More than half are an error, because the figure
    would tell what the model remembers; only of the validation split, whose figure training
    prints, they are a warning too.
    """
    training = data_dir / "train.txt"
    name = shown(text.path)
    if not training.is_file():
        print(f"  Note: {shown(training)} is not there to say what was read of {name}.")
        return None
    seen, lines = text.lines_in(read_sentences(training)), len(text.lines)
    found = f"{seen:,} of {lines:,} lines ({seen / lines:.1%}) are in {shown(training)}"
    if 2 * seen > lines and text.path.absolute() != (data_dir / "val.txt").absolute():
        raise CorpusError(f"{name}: {found}: the model has read them. Give a text it has not read")
    if seen:
        print(f"  Warning: {name}: {found}: the figures flatter the model.")
    return seen


def require_number(value: float) -> None:
    if not math.isfinite(value):
        raise TatarGPTError("the model's figures are no numbers. Try --dtype float32")


def choose_arithmetic(model: GPT, config: EvaluateConfig) -> Compute:
    """That of the training, unless asked otherwise: so the figures are those training printed."""
    if config.dtype != "auto":
        return choose_compute(config.device, config.dtype)
    trained_in = model.card.get("dtype")
    compute = choose_compute(config.device, trained_in if trained_in in DTYPES else "float32")
    return dataclasses.replace(compute, reason="as in training")


def text_report(text: Text, seen: int | None, scores: dict[str, Score]) -> dict[str, Any]:
    return {
        "path": str(text.path),
        "lines": len(text.lines),
        "lines_in_training_text": seen,
        "characters": scores[MODEL].characters,
        "bytes": scores[MODEL].bytes,
        "tokens": scores[MODEL].tokens,
        "scores": {
            name: {
                "bits_per_character": score.bits_per_character,
                "bits_per_byte": score.bits_per_byte,
                "nats_per_token": score.loss,
                "nats": score.nats,
            }
            for name, score in scores.items()
        },
    }


def goldfish_report(text: Text, seen: int | None, result: GoldfishScore) -> dict[str, Any]:
    return {
        "path": str(text.path),
        "lines_in_training_text": seen,
        "bits_per_sentence": result.bits_per_sentence,
        "bits_per_character": result.bits_per_character,
        **dataclasses.asdict(result),
    }


def show_scores(text: Text, scores: dict[str, Score], rows: str) -> None:
    score = scores[MODEL]
    print(
        f"\n{shown(text.path)}: {len(text.lines):,} lines, {score.characters:,} characters, "
        f"{score.bytes:,} bytes, {score.tokens:,} tokens; {rows}"
    )
    print(f"  {'':<32}bits/character  bits/byte  nats/token")
    for name, score in scores.items():
        bits = f"{score.bits_per_character:>14.4f}{score.bits_per_byte:>11.4f}"
        print(f"  {name:<32}{bits}{score.loss:>12.4f}")


def show_goldfish(text: Text, result: GoldfishScore, context: int) -> None:
    print(
        f"\n{shown(text.path)}: second halves of {result.sentences:,} sentences, "
        f"{result.characters:,} characters; context {context}"
    )
    print(f"  {'':<32}bits/sentence  bits/character")
    own = (result.bits_per_sentence, result.bits_per_character)
    for name, (sentence, character) in {MODEL: own, **PUBLISHED}.items():
        print(f"  {name:<32}{sentence:>13.1f}{character:>16.2f}")
    print(
        f"  The others: published by {PUBLISHED_BY}, measured by its\n"
        "  authors on FLORES-200 in Tatar, dev and devtest: compare on that text only. It is news\n"
        "  and encyclopaedia, as is what they learnt from: models of other text have a handicap."
    )


if __name__ == "__main__":
    sys.exit(main())
