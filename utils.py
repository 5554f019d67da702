"""The inference API: load a model and its tokenizer, generate, score.

    from utils import load_model, load_tokenizer, generate_text
    model, _ = load_model("models/best_model.pt")
    tokenizer, tok_config = load_tokenizer()
    print(generate_text(model, tokenizer, tok_config, prompt="Казан шәһәре"))

Relative paths are looked up in the working folder, then beside this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from config import MIN_P, PROJECT_DIR, ConfigError, ModelConfig
from model import GPT
from pipeline import predictions
from pipeline import tokenizer as _tokenizer
from pipeline.batches import evaluation_rows, sentence_ids
from pipeline.checkpoint import build_model, load_checkpoint
from pipeline.device import Compute, choose_device
from pipeline.errors import CorpusError, TatarGPTError, TokenizerError
from pipeline.evaluate import Score, total_nats
from pipeline.generate import Sampling
from pipeline.predictions import NextToken, Piece, split_sentences
from pipeline.streaming import GrowingTexts, stream_texts
from pipeline.tokenizer import valid_unicode

__all__ = [
    "GrowingTexts",
    "NextToken",
    "Piece",
    "Sampling",
    "Score",
    "TatarGPTError",
    "attention_maps",
    "check_tokenizer",
    "find_path",
    "generate_text",
    "generate_texts",
    "load_model",
    "load_tokenizer",
    "next_tokens",
    "perplexity",
    "score_text",
    "split_sentences",
    "stream_text",
    "surprisals",
    "valid_unicode",
]


def load_model(
    path: str | Path = "models/best_model.pt",
    device: str | None = None,
    tokenizer_dir: str | Path | None = None,
) -> tuple[GPT, ModelConfig]:
    """The model in eval mode and its configuration.

    `device`: "cpu", "cuda", "mps", or None for the best there is. With `tokenizer_dir`, the
    tokenizer there is checked at once to be the model's own. `model.card` holds facts about the
    training. Raises ModelNotFoundError, CheckpointError, TokenizerError.
    """
    path = find_path(path)
    model = build_model(load_checkpoint(path), path)
    if tokenizer_dir is not None:
        tokenizer, _ = load_tokenizer(tokenizer_dir)
        check_tokenizer(model, tokenizer)
    return model.to(choose_device(device)).for_generation().eval(), model.config


def load_tokenizer(tokenizer_dir: str | Path = "tokenizer") -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer and its facts; see `pipeline.tokenizer.load_tokenizer`."""
    return _tokenizer.load_tokenizer(find_path(tokenizer_dir))


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    tok_config: dict[str, Any],
    prompt: str = "",
    max_new_tokens: int = 100,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = MIN_P,
    repetition_penalty: float = 1.0,
    seed: int | None = None,
    stop_at_eos: bool = True,
    stop: Sequence[str] = (),
) -> str:
    """The prompt and what the model writes after it.

    `temperature` 0 always takes the likeliest token. `top_k`, `top_p` and `min_p` leave unlikely
    tokens out; with None in all three every token may come. With `stop_at_eos=False` a new
    sentence begins where one ends. The text ends before the first of the strings in `stop`. The
    same `seed` gives the same text. `tok_config` is what `load_tokenizer` returned. Raises
    ConfigError for settings out of range, TokenizerError for another model's tokenizer.
    """
    (text,) = generate_texts(
        model,
        tokenizer,
        tok_config,
        [prompt],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop_at_eos=stop_at_eos,
        stop=stop,
    )
    return text


def generate_texts(
    model: GPT,
    tokenizer: Tokenizer,
    tok_config: dict[str, Any],
    prompts: Sequence[str],
    num_return_sequences: int = 1,
    **settings: Any,
) -> list[str]:
    """As `generate_text` for several prompts at once: `num_return_sequences` texts of each in turn.

    The first text of a prompt is the one that `generate_text` writes with the same settings.
    """
    sampling = _sampling(num_return_sequences=num_return_sequences, **settings)
    check_tokenizer(model, tokenizer, tok_config.get("sha256"))
    texts = [valid_unicode(prompt) for prompt in prompts for _ in range(num_return_sequences)]
    for number, piece in stream_texts(model, tokenizer, prompts, [sampling] * len(prompts)):
        texts[number] += piece
    return texts


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    tok_config: dict[str, Any],
    prompt: str = "",
    **settings: Any,
) -> Iterator[str]:
    """What `generate_text` writes after the prompt with the same settings, piece by piece.

    A piece never ends within a letter. Whoever takes no more pieces stops the work.
    """
    sampling = _sampling(**settings)
    check_tokenizer(model, tokenizer, tok_config.get("sha256"))
    return (piece for _, piece in stream_texts(model, tokenizer, [prompt], [sampling]))


def next_tokens(model: GPT, tokenizer: Tokenizer, prompt: str, k: int = 10) -> list[NextToken]:
    """The k likeliest tokens after a prompt, as (id, text, probability), the likeliest first.

    The text of <eos>, the end of the sentence, is "". Raises ConfigError, TokenizerError.
    """
    if k < 1:
        raise ConfigError([f"k {k}: must be at least 1"])
    check_tokenizer(model, tokenizer)
    return predictions.next_tokens(model, tokenizer, prompt, k)


def surprisals(model: GPT, tokenizer: Tokenizer, text: str) -> list[Piece]:
    """How many bits each token of a text tells the model, as (start, end, text, bits).

    A sentence a line. Tokens that share a letter are one piece; the end of each sentence is a
    piece without characters. Raises CorpusError for an empty text, TokenizerError.
    """
    check_tokenizer(model, tokenizer)
    return predictions.surprisals(model, tokenizer, _text_to_score(text))


def attention_maps(model: GPT, tokenizer: Tokenizer, text: str) -> tuple[list[str], torch.Tensor]:
    """Where each token of a text looks: the tokens, <bos> first, and the weights.

    (n_layer, n_head, T, T): row t holds what share of its attention token t gives to each of the
    tokens 0 to t. A text longer than the context is cut. Raises TokenizerError.
    """
    check_tokenizer(model, tokenizer)
    return predictions.attention_maps(model, tokenizer, text)


def score_text(model: GPT, tokenizer: Tokenizer, text: str) -> Score:
    """How well the model predicts a text; a sentence a line, <eos> after each included.

    Raises CorpusError for an empty text, TokenizerError for another model's tokenizer.
    """
    check_tokenizer(model, tokenizer)
    sentences = split_sentences(_text_to_score(text))
    ids = sentence_ids(tokenizer, sentences)
    compute = Compute(model.embedding.weight.device, torch.float32, "scoring")
    nats = total_nats(model, *evaluation_rows(ids, model.config.block_size), compute)
    return Score(
        nats=nats,
        tokens=len(ids) - len(sentences),
        characters=sum(len(sentence) + 1 for sentence in sentences),
        bytes=sum(len(sentence.encode("utf-8")) + 1 for sentence in sentences),
    )


def perplexity(model: GPT, tokenizer: Tokenizer, text: str) -> float:
    """exp of the mean loss per token, <eos> included; lower is better. See `score_text`."""
    return score_text(model, tokenizer, text).perplexity


def _sampling(min_p: float | None = MIN_P, stop: Sequence[str] = (), **settings: Any) -> Sampling:
    return Sampling(min_p=min_p, stop=(stop,) if isinstance(stop, str) else tuple(stop), **settings)


def _text_to_score(text: str) -> str:
    text = valid_unicode(text)
    if not text.strip():
        raise CorpusError("there is no text to score. Give a sentence or more")
    return text


def check_tokenizer(model: GPT, tokenizer: Tokenizer, sha256: str | None = None) -> None:
    """Raise TokenizerError unless this is the tokenizer that the model was trained with.

    `sha256`: what the facts beside the tokenizer say of it, which must be true too.
    """
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.get_vocab_size():,} tokens, and the model knows "
            f"{model.config.vocab_size:,}. Use the one that it was trained with"
        )
    wanted = model.card.get("tokenizer_sha256")
    if wanted is None:
        return
    own = getattr(tokenizer, "sha256", None) or sha256 or _sha256_of(tokenizer)
    wrong = next((hash for hash in (own, sha256) if hash not in (None, wanted)), None)
    if wrong is not None:
        raise TokenizerError(
            f"the model was trained with tokenizer {wanted[:12]}, and this one is {wrong[:12]}. "
            f"Use its own (a replaced one is kept in tokenizer/replaced/{wanted[:12]}/), or train "
            "the model anew"
        )


def _sha256_of(tokenizer: Tokenizer) -> str:
    """The hash that the tokenizer's file would have."""
    return hashlib.sha256(tokenizer.to_str(pretty=True).encode("utf-8")).hexdigest()


def find_path(path: str | Path) -> Path:
    path = Path(path)
    return path if path.exists() or path.is_absolute() else PROJECT_DIR / path
