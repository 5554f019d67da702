"""About the model: its card and its training curve."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import gradio as gr

from config import SAMPLE_NAME
from interface.service import Service
from interface.texts import say
from interface.words import Words


def build(service: Service, words: Words) -> list[Any]:
    """The tab's components; they are filled anew whenever the model or the language changes."""
    words.make(gr.Markdown, {"value": lambda language: card(service, language)}, elem_id="card")
    words.make(
        gr.LinePlot,
        {
            "value": lambda language: curve(service, language),
            "label": "curve",
            "x_title": "curve_step",
            "y_title": "curve_loss",
        },
        x="step",
        y="loss",
        color="what",
        elem_id="curve",
    )


def is_on_sample(service: Service) -> bool:
    return SAMPLE_NAME in str(service.model.card.get("corpus", ""))


def card(service: Service, language: str) -> str:
    """What is known of the model, as a table."""
    model, folder = service.model, service.model_path.parent
    run, manifest = _read(folder / "run.json"), _read(service.data_dir / "manifest.json")
    unknown = say("unknown", language)
    train, known = run.get("train", {}), model.card
    shape = vars(model.config)
    rows = {
        "about_corpus": known.get("corpus", unknown),
        "about_sentences": _count(manifest, "train"),
    }
    return "\n".join(f"| {say(key, language)} | {value} |" for key, value in rows.items())
