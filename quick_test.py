"""A first look at a trained model: its card, what it writes, how well it predicts.

    python quick_test.py [--model models/best_model.pt] [--tokenizer tokenizer]

Exit code 0 only if all of it worked.
"""

from __future__ import annotations

import sys
from typing import Any

from config import REFERENCE_PROMPTS, REFERENCE_SENTENCES, STYLES
from pipeline.command import command
from pipeline.flags import Parser


@command
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description="Try a trained model.")
    parser.add_argument("--model", default="models/best_model.pt", metavar="FILE")
    parser.add_argument("--tokenizer", default="tokenizer", metavar="DIR")
    parser.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best)")
    args = parser.parse_args(argv)

    from utils import generate_text, load_model, load_tokenizer, perplexity  # slow: torch

    model, _ = load_model(args.model, args.device, args.tokenizer)
    tokenizer, tok_config = load_tokenizer(args.tokenizer)
    print_card(model.card, model.parameter_count())

    def write(prompt: str, temperature: float) -> str:
        return generate_text(model, tokenizer, tok_config, prompt, 60, temperature, seed=1)

    print("\nWhat it writes (temperature 0.8)")
    for prompt in REFERENCE_PROMPTS:
        print(f"  {prompt:<24} {write(prompt, 0.8)}")
    print(f"\n«{REFERENCE_PROMPTS[1]}» at three temperatures: careful, balanced, bold")
    for temperature in STYLES.values():
        print(f"  {temperature:<24} {write(REFERENCE_PROMPTS[1], temperature)}")

    print("\nPerplexity of sentences it should find likely (lower is better)")
    values = [perplexity(model, tokenizer, sentence) for sentence in REFERENCE_SENTENCES]
    for sentence, value in zip(REFERENCE_SENTENCES, values, strict=True):
        print(f"  {value:10.1f}  {sentence}")
    print(f"  {sum(values) / len(values):10.1f}  mean")
    return 0


def print_card(card: dict[str, Any], parameters: int) -> None:
    print("The model")
    print(f"  trained on       {card.get('corpus', 'unknown')}")
    print(f"  preset           {card.get('preset', 'unknown')}, {parameters:,} parameters")
    print(f"  step             {card['step']:,}")
    if "val_loss" in card:
        print(f"  validation loss  {card['val_loss']:.4f} nats a token", end="")
        guessing = card.get("unigram_loss")
        print(f" (guessing by frequency alone: {guessing:.4f})" if guessing else "")


if __name__ == "__main__":
    sys.exit(main())
