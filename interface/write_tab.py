"""Writing: a prompt, how to go on, and the text as it grows."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import gradio as gr

from config import MIN_P, REFERENCE_PROMPTS, STYLES
from interface.handlers import OWN, figures, in_line, politely
from interface.service import Refused, Service, Waiting
from interface.texts import say
from interface.words import Words, choices

# In the browser: the text becomes a file, or is copied, without a visit to the server.
DOWNLOAD = """(text) => {
    if (!text) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "text/plain;charset=utf-8"}));
    link.download = "tatar-gpt.txt";
    link.click();
    URL.revokeObjectURL(link.href);
}"""
# navigator.clipboard is there on this machine and over HTTPS only.
COPY = """(text) => {
    if (!text) return;
    if (navigator.clipboard) { navigator.clipboard.writeText(text); return; }
    document.querySelector("#text textarea").select();
    document.execCommand("copy");
}"""


def build(service: Service, words: Words, language: gr.Radio) -> None:
    """The tab's components and what they do."""
    prompt_box = words.make(
        gr.Textbox,
        {"label": "prompt", "placeholder": "prompt_hint", "info": "prompt_info"},
        lines=2,
        elem_id="prompt",
    )
    examples = words.make(
        gr.Dataset, {"label": "examples"}, components=[prompt_box],
        samples=[[example] for example in REFERENCE_PROMPTS], elem_id="examples",
    )  # fmt: skip
    with gr.Row():
        go = words.make(
            gr.Button, {"value": "continue"}, min_width=100, variant="primary", elem_id="go"
        )
        again = words.make(gr.Button, {"value": "again"}, min_width=100, elem_id="again")
        stop = words.make(gr.Button, {"value": "stop"}, min_width=100, elem_id="stop")
    text_box = words.make(
        gr.Textbox, {"label": "text", "placeholder": "text_hint"},
        lines=5, interactive=False, elem_id="text",
    )  # fmt: skip
    status = gr.Markdown(elem_id="figures")
    waiting = gr.Markdown()
    with gr.Row():
        from_here = words.make(
            gr.Button, {"value": "from_here"}, size="sm", min_width=100, elem_id="from_here"
        )
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
            gr.Textbox,
            {"label": "seed", "info": "seed_info"},
            value="",
            max_lines=1,
            elem_id="seed",
        )

    @politely
    def write(
        prompt: str,
        text: str,
        until: str,
        temperature: float,
        min_p: float,
        top_p: float,
        penalty: float,
        length: int,
        seed: str,
        language: str,
        event: gr.EventData,
    ) -> Iterator[dict[Any, Any]]:
        # Not the button itself: a visitor who changes the language has components of his own.
        pressed = getattr(event.target, "elem_id", None)
        if pressed == "from_here":
            prompt = as_prompt(text)
            service.check_length(prompt, service.limits.prompt_characters)
            yield {prompt_box: prompt}
        settings = {
            "stop_at_eos": until == "one_sentence",
            "temperature": temperature,
            "min_p": min_p,
            "top_p": top_p,
            "repetition_penalty": penalty,
            "max_new_tokens": int(length),
            "seed": seed_of("" if pressed == "again" else seed),
        }
        for news in service.write([prompt], [settings]):
            if isinstance(news, Waiting):
                yield {text_box: prompt, waiting: in_line(news, language)}
                continue
            line = (
                figures(news, service, language)
                + " · "
                + say("seed_used", language, seed=settings["seed"])
            )
            if news.is_over and news.texts[0].strip() == prompt.strip():
                line = say("ended", language)
            yield {text_box: news.texts[0], status: line, waiting: ""}

    # One event for all: while a text grows, no other is begun beside it.
    run = gr.on(
        [go.click, again.click, from_here.click, prompt_box.submit],
        write,
        [
            *(prompt_box, text_box, until, temperature, min_p, top_p, penalty, length),
            *(seed, language),
        ],
        [prompt_box, text_box, status, waiting],
        **OWN,
    )
    stop.click(lambda: "", None, waiting, cancels=run, **OWN)
    examples.click(lambda sample: sample[0], examples, prompt_box, **OWN)
    style.input(lambda style: STYLES[style], style, temperature, **OWN)
    temperature.input(lambda: None, None, style, **OWN)
    download.click(None, text_box, None, js=DOWNLOAD, **OWN)
    copy.click(None, text_box, None, js=COPY, **OWN)
    copy.click(announce, [text_box, language], **OWN)


def announce(text: str, language: str) -> None:
    """Say that the text was copied, if there is one."""
    if text:
        gr.Info(say("copied", language), duration=2)


def as_prompt(text: str) -> str:
    """A text that is to go on: after a whole sentence, with a new one."""
    is_whole = re.search(r"[.!?…][»\")]*$", text.rstrip())
    return text.rstrip() + "\n" if is_whole else text


def seed_of(text: str) -> int:
    """The seed in a field, or a random one if it is empty. Raises Refused."""
    if not text.strip():
        return secrets.randbelow(10**6)
    if not text.strip().isdecimal() or len(text) > 18:
        raise Refused("bad_seed")
    return int(text)
