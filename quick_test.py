"""A first look at a trained model: its card, what it writes, how well it predicts.

    python quick_test.py [--model models/best_model.pt] [--tokenizer tokenizer] [--json]

Exit code 0 only if all of it worked.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from config import REFERENCE_PROMPTS, REFERENCE_SENTENCES, STYLES
from pipeline.command import command, share_the_cores
from pipeline.flags import Parser

NEW_TOKENS = 60
PROMPT = REFERENCE_PROMPTS[1]  # at every temperature


@command
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description="Try a trained model.")
    parser.add_argument("--model", default="models/best_model.pt", metavar="FILE")
    parser.add_argument("--tokenizer", default="tokenizer", metavar="DIR")
    parser.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    args = parser.parse_args(argv)
    share_the_cores()
    found = look(args.model, args.tokenizer, args.device)
    if args.json:
        print(json.dumps(found, ensure_ascii=False, indent=2, sort_keys=True, default=str))
    else:
        print_report(found)
    return 0


def look(path: str, tokenizer_dir: str, device: str | None) -> dict[str, Any]:
    """What there is to say about a model, as it is printed with --json."""
    from utils import generate_text, load_model, load_tokenizer, perplexity  # slow: torch

    model, _ = load_model(path, device, tokenizer_dir)
    tokenizer, tok_config = load_tokenizer(tokenizer_dir)

    def write(prompt: str, temperature: float) -> dict[str, Any]:
        text = generate_text(model, tokenizer, tok_config, prompt, NEW_TOKENS, temperature, seed=1)
        return {"prompt": prompt, "temperature": temperature, "text": text}

    values = {sentence: perplexity(model, tokenizer, sentence) for sentence in REFERENCE_SENTENCES}
    return {
        "card": model.card | {"parameters": model.parameter_count()},
        "prompts": [write(prompt, STYLES["balanced"]) for prompt in REFERENCE_PROMPTS],
        "temperatures": [write(PROMPT, temperature) for temperature in STYLES.values()],
        "perplexity": values,
        "mean_perplexity": sum(values.values()) / len(values),
    }


def print_report(found: dict[str, Any]) -> None:
    """The same for a person."""
    print_card(found["card"])
    print(f"\nWhat it writes (temperature {STYLES['balanced']})")
    for written in found["prompts"]:
        print(f"  {written['prompt']:<24} {written['text']}")
    print(f"\n«{PROMPT}» at three temperatures: {', '.join(STYLES)}")
    for written in found["temperatures"]:
        print(f"  {written['temperature']:<24} {written['text']}")
    print("\nPerplexity of sentences it should find likely (lower is better)")
    for sentence, value in found["perplexity"].items():
        print(f"  {value:10.1f}  {sentence}")
    print(f"  {found['mean_perplexity']:10.1f}  mean")


def print_card(card: dict[str, Any]) -> None:
    print("The model")
    print(f"  trained on       {card.get('corpus', 'unknown')}")
    print(f"  preset           {card.get('preset', 'unknown')}, {card['parameters']:,} parameters")
    print(f"  step             {card['step']:,}")
    if "val_loss" in card:
        print(f"  validation loss  {card['val_loss']:.4f} nats a token", end="")
        guessing = card.get("unigram_loss")
        print(f" (guessing by frequency alone: {guessing:.4f})" if guessing else "")


if __name__ == "__main__":
    sys.exit(main())
