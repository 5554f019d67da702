"""A page in the browser to play with a trained model.

    python app.py [--model FILE] [--tokenizer DIR] [--host 127.0.0.1] [--port 7860]

Serves this machine alone; nothing is sent anywhere.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from config import REFERENCE_PROMPTS
from pipeline.command import DONE, command
from pipeline.flags import Parser

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from model import GPT

MAX_PROMPT_CHARACTERS = 2_000


@command
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description="A page in the browser to play with a trained model.")
    parser.add_argument("--model", default="models/best_model.pt", metavar="FILE")
    parser.add_argument("--tokenizer", default="tokenizer", metavar="DIR")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args(argv)
    if not 0 < args.port < 65_536:
        parser.error(f"--port {args.port}: must be at least 1 and at most 65535")

    from utils import load_model, load_tokenizer  # slow: torch

    model, _ = load_model(args.model, tokenizer_dir=args.tokenizer)
    tokenizer, tok_config = load_tokenizer(args.tokenizer)

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio as gr

    # Gradio's own font lacks Tatar letters in bold; LocalFont asks no other server.
    sans = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700))
    mono = gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700))
    build_page(model, tokenizer, tok_config).launch(
        server_name=args.host,
        server_port=args.port,
        share=False,
        theme=gr.themes.Default(
            font=[sans, "system-ui", "sans-serif"], font_mono=[mono, "monospace"]
        ),
    )
    return DONE


def build_page(model: GPT, tokenizer: Tokenizer, tok_config: dict[str, Any]) -> Any:
    """The page as a gradio.Blocks."""
    import gradio as gr

    from utils import generate_text

    def write(prompt: str, temperature: float, max_new_tokens: float) -> str:
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise gr.Error(f"Текст бик озын: {MAX_PROMPT_CHARACTERS} билгедән артмаска тиеш.")
        return generate_text(
            model,
            tokenizer,
            tok_config,
            prompt,
            max_new_tokens=int(max_new_tokens),
            temperature=temperature,
        )

    with gr.Blocks(title="Татар GPT") as page:
        gr.Markdown(
            "# Татар GPT\n"
            "Җөмләнең башын языгыз — модель аны дәвам итә. Ул сорауларга җавап бирми, бары тик "
            f"текстны гына дәвам итә.\n\nКорпус: {model.card.get('corpus', '—')}"
        )
        prompt = gr.Textbox(label="Җөмләнең башы", value=REFERENCE_PROMPTS[1], lines=2)
        with gr.Row():
            temperature = gr.Slider(0, 2, value=0.8, step=0.1, label="Кыюлык")
            length = gr.Slider(10, 200, value=60, step=10, label="Озынлыгы (токеннар саны)")
        button = gr.Button("Дәвам итү", variant="primary")
        text = gr.Textbox(label="Текст", lines=6, buttons=["copy"])
        gr.Examples([[p] for p in REFERENCE_PROMPTS], [prompt], label="Үрнәкләр")
        inputs = [prompt, temperature, length]
        button.click(write, inputs, text, api_name="generate", concurrency_limit=1)
    return page


if __name__ == "__main__":
    sys.exit(main())
