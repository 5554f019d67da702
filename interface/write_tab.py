"""Writing: a prompt, how to go on, and the text as it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import MIN_P, REFERENCE_PROMPTS, STYLES
from interface.service import Service
from interface.texts import say
from interface.words import PRIVATE, Words, choices, figures, in_line, politely

# In the browser: the text becomes a file, or is copied, without a visit to the server.
DOWNLOAD = """(text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "text/plain;charset=utf-8"}));
    link.download = "tatar-gpt.txt";
    link.click();
    URL.revokeObjectURL(link.href);
}"""
# navigator.clipboard is there on this machine and over HTTPS only.
COPY = """(text) => {
    if (navigator.clipboard) { navigator.clipboard.writeText(text); return; }
    document.querySelector("#text textarea").select();
    document.execCommand("copy");
}"""


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    prompt = words.make(
        gr.Textbox,
        {"label": "prompt", "placeholder": "prompt_hint", "info": "prompt_info"},
        lines=2,
        elem_id="prompt",
    )
    examples = words.make(
        gr.Dataset, {"label": "examples"}, components=[prompt],
        samples=[[example] for example in REFERENCE_PROMPTS], elem_id="examples",
    )  # fmt: skip
    with gr.Row():
        go = words.make(
            gr.Button, {"value": "continue"}, min_width=100, variant="primary", elem_id="go"
        )
        again = words.make(gr.Button, {"value": "again"}, min_width=100, elem_id="again")
        stop = words.make(gr.Button, {"value": "stop"}, min_width=100, elem_id="stop")
    text = words.make(
        gr.Textbox, {"label": "text", "placeholder": "text_hint"},
        lines=5, interactive=False, elem_id="text",
    )  # fmt: skip
    status = gr.Markdown(elem_id="figures")
    with gr.Row():
        copy = words.make(gr.Button, {"value": "copy"}, min_width=100, size="sm", elem_id="copy")
        download = words.make(
            gr.Button, {"value": "download"}, min_width=100, size="sm", elem_id="download"
        )
    with gr.Row():
        until = words.make(
            gr.Radio, {"label": "until", "choices": choices("one_sentence", "go_on")},
            value="one_sentence", elem_id="until",
        )  # fmt: skip
        style = words.make(
            gr.Radio, {"label": "style", "choices": choices(*STYLES)}, value="balanced",
            elem_id="style",
        )  # fmt: skip
    with words.make(gr.Accordion, {"label": "settings"}, open=False, elem_id="settings"):
        temperature, min_p, top_p, penalty, length = (
            words.make(
                gr.Slider, {"label": key} | ({"info": f"{key}_info"} if key != "length" else {}),
                minimum=low, maximum=high, step=step, value=value, buttons=[], elem_id=key,
            )
            for key, low, high, step, value in (
                ("temperature", 0, 2, 0.05, STYLES["balanced"]),
                ("min_p", 0, 1, 0.05, MIN_P),
                ("top_p", 0.05, 1, 0.05, 1),
                ("repetition_penalty", 1, 2, 0.05, 1),
                ("length", 1, service.limits.new_tokens, 1, 100),
            )
        )  # fmt: skip
        seed = words.make(
            gr.Number, {"label": "seed", "info": "seed_info"},
            value=None, precision=0, minimum=0, elem_id="seed",
        )  # fmt: skip

    @politely
    def write(
        prompt: str,
        until: str,
        temperature: float,
        min_p: float,
        top_p: float,
        penalty: float,
        length: int,
        seed: int | None,
        language: str,
    ) -> Iterator[tuple[str, str]]:
        settings = {
            "stop_at_eos": until == "one_sentence",
            "temperature": temperature,
            "min_p": min_p,
            "top_p": top_p,
            "repetition_penalty": penalty,
            "max_new_tokens": int(length),
            "seed": None if seed is None else int(seed),
        }
        for news in service.write([prompt], [settings]):
            yield news.texts[0], figures(news, service, language)

    settings = [prompt, until, temperature, min_p, top_p, penalty, length]
    shared: dict[str, Any] = {"outputs": [text, status], **PRIVATE, **in_line(service)}
    runs = [
        go.click(write, [*settings, seed, language], **shared),
        prompt.submit(write, [*settings, seed, language], **shared),
        again.click(write, [*settings, gr.State(None), language], **shared),
    ]
    stop.click(None, None, None, cancels=runs, queue=False, **PRIVATE)
    examples.click(lambda sample: sample[0], examples, prompt, **PRIVATE)
    style.input(lambda style: STYLES[style], style, temperature, **PRIVATE)
    download.click(None, text, None, js=DOWNLOAD, **PRIVATE)
    copy.click(None, text, None, js=COPY, **PRIVATE)
    copy.click(lambda language: gr.Info(say("copied", language), title=""), language, **PRIVATE)
