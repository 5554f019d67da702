"""What a run trains on: both splits as token ids, with the hashes that name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from config import BOS_ID
from pipeline.batches import TokenIds, cached_tokens
from pipeline.evaluate import Score
from pipeline.prepared import PreparedCorpus, load_corpus, read_sentences
from pipeline.tokenizer import load_tokenizer


@dataclass(frozen=True)
class TrainingText:
    """Token ids (N,) of both splits, and what the validation split measures."""

    corpus: PreparedCorpus
    tokenizer: Tokenizer
    tokenizer_sha256: str
    vocab_size: int
    train: TokenIds
    val: TokenIds
    val_characters: int  # one for each line end included
    val_bytes: int

    @property
    def val_targets(self) -> int:
        """Tokens that evaluation predicts: all but <bos>."""
        return len(self.val) - int((self.val == BOS_ID).sum())

    def score(self, nats: float) -> Score:
        """What summed nats over the validation split come to."""
        return Score(nats, self.val_targets, self.val_characters, self.val_bytes)

    @property
    def hashes(self) -> dict[str, str]:
        return {
            "training text": self.corpus.train_sha256,
            "validation text": self.corpus.val_sha256,
            "tokenizer": self.tokenizer_sha256,
        }


def load_training_text(data_dir: Path, tokenizer_dir: Path) -> TrainingText:
    """Load corpus and tokenizer; encode the text, or take the token ids cached for it."""
    corpus = load_corpus(data_dir)
    tokenizer, facts = load_tokenizer(tokenizer_dir)
    train, val = (
        cached_tokens(path, sha256, tokenizer, facts["sha256"])
        for path, sha256 in (
            (corpus.train_path, corpus.train_sha256),
            (corpus.val_path, corpus.val_sha256),
        )
    )
    return TrainingText(
        corpus=corpus,
        tokenizer=tokenizer,
        tokenizer_sha256=facts["sha256"],
        vocab_size=facts["vocab_size"],
        train=train,
        val=val,
        val_characters=sum(len(sentence) + 1 for sentence in read_sentences(corpus.val_path)),
        val_bytes=corpus.val_path.stat().st_size,
    )
