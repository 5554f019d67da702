"""Every number and every path of the project, as frozen dataclasses.

The command-line flags of the numbered scripts are generated from these fields
(`pipeline/flags.py`), so a flag and its default cannot drift apart. A class checks
all its fields when it is made and reports every problem at once.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PROJECT_DIR = Path(__file__).resolve().parent

# Ids 0 to 3 of every tokenizer, in this order.
SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD_ID, UNK_ID, BOS_ID, EOS_ID = range(4)

# Token ids are cached as uint16.
MAX_VOCAB_SIZE = 65_535

DEFAULT_CORPUS = "tat_mixed_2015_1M"
LEIPZIG_URL = "https://downloads.wortschatz-leipzig.de/corpora"
SAMPLE_DIR = PROJECT_DIR / "sample_corpus"
SAMPLE_NAME = "built-in sample"

# The largest size of every Tatar family in the Leipzig catalogue (July 2026).
LEIPZIG_LARGEST = (
    "tat_mixed_2015_1M",
    "tat_news_2015_1M",
    "tat_web_2018_1M",
    "tat_news_2005-2011_300K",
    "tat_wikipedia_2016_100K",
    "tat_wikipedia_2021_100K",
    "tat_community_2017",
)

# Measured by a third party, not published by Leipzig: a difference is a warning, not an error.
KNOWN_SHA256 = {
    "tat_mixed_2015_1M": "c5a27c731116c2540a1053b8b9d6cb3a16134f519f0bf7535bca274173d01fc7",
    "tat_news_2015_1M": "e7421c8d036bfaf6ce5dec6b2a121b2c85a55ae1a26004e51b71202f6765b2d7",
    "tat_web_2018_1M": "de7816dbd8334ad9cd516be43ddca76e157316db9a53576dc3e813005d7b3f87",
}

REFERENCE_PROMPTS = ("Казан", "Казан шәһәре", "Татарстанның башкаласы")
STYLES = {"careful": 0.3, "balanced": 0.8, "bold": 1.5}  # temperatures
MIN_P = 0.3  # how the front doors choose: a small model's unlikely tokens are mostly mistakes
REFERENCE_SENTENCES = (
    "Казан шәһәре Татарстан Республикасының башкаласы.",
    "Татар теле төрки телләр төркеменә керә.",
    "Мин татарча өйрәнәм.",
)


class ConfigError(ValueError):
    """Settings that cannot work. `problems` holds one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
) -> Any:
    """A dataclass field with its documentation and the values it allows.

    `low` and `high` are allowed themselves, `above` and `below` are not. `metavar` stands for the
    value in --help.
    """
    limits = {"low": low, "high": high, "above": above, "below": below, "choices": choices}
    metadata = {"help": help, "metavar": metavar, **limits}
    return dataclasses.field(default=default, metadata=metadata)


def flag_name(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")


def allowed_values(field: dataclasses.Field[Any]) -> str:
    """The allowed values in words, or "" where every value will do."""
    limits = field.metadata
    if limits["choices"]:
        return "one of " + ", ".join(limits["choices"])
    words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
    parts = [f"{words[k]} {limits[k]:g}" for k in words if limits[k] is not None]
    return " and ".join(parts) or "finite"


def is_allowed(field: dataclasses.Field[Any], value: Any) -> bool:
    limits = field.metadata
    if limits["choices"]:
        return value in limits["choices"]
    if isinstance(value, int | float) and abs(value) > sys.float_info.max:  # infinity too
        return False
    # Written so that NaN fails each comparison.
    return (
        (limits["low"] is None or value >= limits["low"])
        and (limits["above"] is None or value > limits["above"])
        and (limits["high"] is None or value <= limits["high"])
        and (limits["below"] is None or value < limits["below"])
    )


def has_type(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; a whole number will do for a float."""
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple)
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


@dataclass(frozen=True)
class Checked:
    """Base of the configurations: checks every field when one is made."""

    def __post_init__(self) -> None:
        problems = []
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not has_type(value, hints[field.name]):
                kind = str(field.type).removesuffix(" | None")
                raise ConfigError([f"{flag_name(field.name)} {value!r}: must be of type {kind}"])
            if value is not None and not is_allowed(field, value):
                allowed = allowed_values(field)
                problems.append(f"{flag_name(field.name)} {value}: must be {allowed}")
        problems += self.conflicts()
        if problems:
            raise ConfigError(problems)

    @classmethod
    def given(cls, values: dict[str, Any]) -> Self:
        """A configuration with these values, and the defaults that go with them."""
        return cls(**values)

    def conflicts(self) -> list[str]:
        """Problems between fields, a line each."""
        return []


@dataclass(frozen=True)
class CorpusConfig(Checked):
    """Stage 1: which text, how it is cleaned and split."""

    corpora: tuple[str, ...] = setting(
        (DEFAULT_CORPUS,),
        "Leipzig corpora to download, or `all` for the largest of every family",
        metavar="NAME",
    )
    input: tuple[str, ...] = setting(
        (),
        "text of your own instead: .txt, .txt.gz, .txt.xz or a Leipzig .tar.gz",
        metavar="FILE",
    )
    sample: bool = setting(False, "use the built-in sample corpus; needs no internet")
    language: str = setting(
        "tt", "tt: Tatar repairs and language filters; any: neither", choices=("tt", "any")
    )
    base_url: str = setting(
        LEIPZIG_URL, "where the archives lie (or LEIPZIG_BASE_URL)", metavar="URL"
    )
    data_dir: Path = setting(PROJECT_DIR / "data", "where the corpus is written")
    val_fraction: float | None = setting(
        None,
        "share of sentences kept for validation (default: 0.005, or 0.05 under 100,000 lines)",
        above=0,
        below=1,
    )
    fallback_sample: bool = setting(
        False, "if the default corpus cannot be had, use the built-in sample"
    )
    show_examples: bool = setting(False, "print ten random kept and ten dropped lines")
    force: bool = setting(False, "do it again although nothing has changed")

    def conflicts(self) -> list[str]:
        problems = []
        if self.sample and self.input:
            problems.append("--sample and --input: give one of them")
        if self.corpora != (DEFAULT_CORPUS,) and (self.sample or self.input):
            other = "--sample" if self.sample else "--input"
            problems.append(f"--corpora and {other}: give one of them")
        return problems


@dataclass(frozen=True)
class TokenizerConfig(Checked):
    """Stage 2: the byte-pair encoding."""

    data_dir: Path = setting(PROJECT_DIR / "data", "where stage 1 wrote the corpus")
    tokenizer_dir: Path = setting(PROJECT_DIR / "tokenizer", "where the tokenizer is written")
    vocab_size: int = setting(
        8192, "tokens in the vocabulary, special tokens included", low=260, high=MAX_VOCAB_SIZE
    )
    force: bool = setting(False, "do it again although nothing has changed")


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The shape of the network. The defaults are the `base` preset."""

    n_layer: int = setting(6, "transformer blocks", low=1, high=256)
    n_head: int = setting(8, "attention heads in a block", low=1, high=256)
    n_embd: int = setting(512, "width of the residual stream", low=2, high=16_384)
    block_size: int = setting(256, "context, in tokens", low=2, high=65_536)
    vocab_size: int = setting(8192, "tokens in the vocabulary", low=5, high=MAX_VOCAB_SIZE)
    dropout: float = setting(0.1, "dropout after the embedding and on residuals", low=0, below=1)

    def conflicts(self) -> list[str]:
        if self.n_head > 0 and self.n_embd % (2 * self.n_head):
            return [f"n_embd {self.n_embd}: must be a multiple of 2 x n_head ({2 * self.n_head})"]
        return []


@dataclass(frozen=True)
class TrainConfig(Checked):
    """Stage 3: the recipe and the run. The defaults are the `base` preset."""

    preset: str = setting(
        "base",
        "named model and recipe; auto makes a plan from a measured step",
        choices=("auto", "tiny", "base", "tuned", "medium", "large"),
    )
    data_dir: Path = setting(PROJECT_DIR / "data", "where stage 1 wrote the corpus")
    tokenizer_dir: Path = setting(PROJECT_DIR / "tokenizer", "where stage 2 wrote the tokenizer")
    out_dir: Path = setting(PROJECT_DIR / "models", "where checkpoints and metrics are written")
    device: str = setting(
        "auto", "what computes; auto takes CUDA, then MPS, then the CPU",
        choices=("auto", "cpu", "cuda", "mps"),
    )  # fmt: skip
    dtype: str = setting(
        "auto", "arithmetic of the forward pass; auto takes bfloat16 where the device has it",
        choices=("auto", "float32", "bfloat16", "float16"),
    )  # fmt: skip
    max_iters: int = setting(10_000, "optimizer steps", low=1, high=10**9)
    eval_interval: int | None = setting(
        None, "steps between evaluations (default: a tenth of the run, at most 500)", low=1,
        high=10**9,
    )  # fmt: skip
    batch_size: int = setting(32, "rows of one micro-batch", low=1, high=10**6)
    grad_accum: int = setting(4, "micro-batches added up for one step", low=1, high=10**6)
    optimizer: str = setting(
        "adamw", "muon: Muon for the matrices of the blocks, AdamW for the rest",
        choices=("adamw", "muon"),
    )  # fmt: skip
    learning_rate: float = setting(3e-4, "peak learning rate", above=0)
    schedule: str = setting(
        "cosine", "how the learning rate falls after the warm-up", choices=("cosine", "linear")
    )
    min_lr: float | None = setting(
        None, "learning rate of the last step (default: a tenth of the peak)", low=0
    )
    warmup_iters: int = setting(100, "steps of linear warm-up", low=0)
    weight_decay: float = setting(0.1, "decay of the matrices", low=0)
    grad_clip: float = setting(1.0, "largest norm of the gradient; 0 switches it off", low=0)
    grad_checkpoint: bool = setting(False, "recompute activations: less memory, more time")
    compile: str = setting(
        "auto", "torch.compile; auto where the run is long enough to gain by it",
        choices=("auto", "on", "off"),
    )  # fmt: skip
    seed: int = setting(1337, "fixes weights, data order and dropout", low=0, high=2**63 - 1)
    resume: bool = setting(False, "go on with the run in --out-dir")
    minutes: float | None = setting(
        None,
        "length of the run; fixes the number of steps from the measured speed",
        above=0,
        high=10**6,
    )
    patience: int | None = setting(
        None, "stop after so many evaluations without a new best", low=1, high=10**9
    )
    force: bool = setting(False, "overwrite the run in --out-dir")

    @classmethod
    def given(cls, values: dict[str, Any]) -> Self:
        """What is not given is as the preset has it: its rates differ from those of `base`."""
        preset = PRESETS.get(values.get("preset", "base"))
        return cls(**(vars(preset.train) if preset else {}) | values)

    @property
    def last_lr(self) -> float:
        """The learning rate of the last step."""
        # 12 digits: a tenth of 3e-4 is 3e-5, not 2.9999999999999997e-05.
        return float(f"{self.learning_rate / 10:.12g}") if self.min_lr is None else self.min_lr

    def conflicts(self) -> list[str]:
        problems = []
        if self.min_lr is not None and self.min_lr > self.learning_rate:
            problems.append(
                f"--min-lr {self.min_lr}: must be at most --learning-rate ({self.learning_rate})"
            )
        if self.resume and self.force:
            problems.append("--resume and --force: give one of them")
        return problems


@dataclass(frozen=True)
class Preset:
    model: ModelConfig
    train: TrainConfig


PRESETS = {
    # A recipe for minutes on a CPU and a small text: read often, so held back by strong decay.
    "tiny": Preset(
        ModelConfig(n_layer=4, n_head=4, n_embd=256),
        TrainConfig(
            preset="tiny",
            max_iters=1_000,
            batch_size=8,
            grad_accum=1,
            learning_rate=1.5e-3,
            min_lr=0.0,
            warmup_iters=50,
            weight_decay=1.0,
        ),
    ),
    "base": Preset(ModelConfig(), TrainConfig()),
    # The same network with a better recipe; what may still improve it: docs/EXPERIMENTS.md.
    "tuned": Preset(
        ModelConfig(),
        TrainConfig(
            preset="tuned",
            batch_size=8,
            grad_accum=1,
            optimizer="muon",
            learning_rate=2e-3,
            schedule="linear",
            min_lr=0.0,
            weight_decay=0.3,
        ),
    ),
    "medium": Preset(
        ModelConfig(n_layer=8),
        TrainConfig(preset="medium"),
    ),
    "large": Preset(
        ModelConfig(n_layer=12, n_head=12, n_embd=768, block_size=512),
        TrainConfig(preset="large", batch_size=16, grad_accum=8),
    ),
}
