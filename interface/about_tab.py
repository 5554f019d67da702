"""About the model: its card and its training curve."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import gradio as gr

from config import SAMPLE_NAME
from interface.service import Service
from interface.texts import number, say
from interface.words import Words


def build(service: Service, words: Words) -> None:
    """The tab's components; they are filled anew when the language or the model changes."""
    words.make(gr.Markdown, {"value": lambda language: card(service, language)}, elem_id="card")
    words.make(gr.Markdown, {"value": lambda language: no_curve(service, language)})
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
        color_title=" ",
        buttons=[],
        elem_id="curve",
    )


def card(service: Service, language: str) -> str:
    """What is known of the model, as a Markdown table."""
    known, model = service.model.card, service.model
    corpus = known.get("corpus")
    rows = {
        "about_corpus": say("sample", language) if corpus == SAMPLE_NAME else _text(corpus),
        "about_sentences": _number(known.get("sentences"), language),
        "about_characters": _number(known.get("characters"), language),
        "about_licence": _text(known.get("licence")),
        "about_parameters": _number(model.parameter_count(), language),
        "about_shape": say("shape", language, **vars(model.config)),
        "about_recipe": _recipe(known, language),
        "about_loss": _loss(known, language),
        "about_date": _date(service),
    }
    lines = [f"| {say(key, language)} | {value} |" for key, value in rows.items() if value]
    return "\n".join(["|  |  |", "|---|---|", *lines])


def no_curve(service: Service, language: str) -> str:
    """Why there is no curve; nothing where there is one."""
    return "" if _metrics(service).is_file() else say("no_curve", language)


def curve(service: Service, language: str) -> Any:
    """Rows of (step, loss, what) from the metrics.jsonl beside the model, or None."""
    import pandas as pd

    if not _metrics(service).is_file():
        return None
    names = {"train_loss": "curve_training", "val_loss": "curve_validation"}
    points = []
    for line in _metrics(service).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            points += [
                (int(row["step"]), float(row[name]), say(key, language))
                for name, key in names.items()
                if row[name] is not None
            ]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            # The last line while it is being written, or a damaged one.
            continue
    return pd.DataFrame(points, columns=["step", "loss", "what"])


def _metrics(service: Service) -> Path:
    return service.model_path.parent / "metrics.jsonl"


def _recipe(known: dict[str, Any], language: str) -> str | None:
    recipe = known.get("recipe")
    if not isinstance(recipe, dict):
        return None
    return say(
        "recipe",
        language,
        preset=_text(known.get("preset")),
        steps=_number(recipe.get("max_iters"), language),
        tokens=_number(recipe.get("tokens_per_step"), language),
        optimizer=_text(recipe.get("optimizer")),
        learning_rate=_text(recipe.get("learning_rate")),
    )


def _loss(known: dict[str, Any], language: str) -> str | None:
    if "val_loss" not in known or "unigram_loss" not in known:
        return None
    loss, guessing = known["val_loss"], known["unigram_loss"]
    return say(
        "loss", language, loss=number(loss, language, 3), guessing=number(guessing, language, 3)
    )


def _date(service: Service) -> str | None:
    stamp = service.opened.stamp
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp[0] / 1e9).astimezone().strftime("%d.%m.%Y")


def _number(value: Any, language: str) -> str | None:
    return number(value, language) if isinstance(value, int) else None


def _text(value: Any) -> str | None:
    """Text of a checkpoint that anyone may have made, in code marks: nothing in it is Markdown."""
    if value is None:
        return None
    return "`" + " ".join(str(value)[:200].replace("`", "'").replace("|", "/").split()) + "`"
