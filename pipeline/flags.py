"""Command-line flags, generated from the fields of the configurations."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, NoReturn

from config import Checked, ConfigError, flag_name


class Parser(argparse.ArgumentParser):
    """Raises ConfigError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message} (see --help)"])


def parse(
    argv: list[str] | None,
    description: str,
    sections: dict[type[Checked], tuple[str, ...] | None],
    prog: str | None = None,
) -> dict[str, Any]:
    """The flags that were given, by field name, converted to the fields' types.

    `sections` maps a configuration class to the fields that become flags (None: all of them).
    Raises ConfigError with every unknown flag and every value that has the wrong type.
    """
    parser = Parser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
    )
    fields: dict[str, tuple[dataclasses.Field[Any], type]] = {}
    for config_class, names in sections.items():
        group = parser.add_argument_group((config_class.__doc__ or "").splitlines()[0].rstrip("."))
        for field in dataclasses.fields(config_class):
            if (names is None or field.name in names) and field.name not in fields:
                fields[field.name] = (field, field_type(config_class, field))
                _add(group, *fields[field.name])

    given, unknown = parser.parse_known_args(argv)
    problems = [f"{text}: there is no such flag (see --help)" for text in unknown]
    values = {}
    for name, raw in vars(given).items():
        try:
            values[name] = _convert(raw, fields[name][1])
        except ValueError:
            kind = {int: "a whole number", float: "a number"}[fields[name][1]]
            problems.append(f"{flag_name(name)} {raw}: must be {kind}")
    # A value of the right type may still be out of range: say so in the same breath.
    for config_class in sections:
        own = {f.name for f in dataclasses.fields(config_class)}
        try:
            config_class.given({k: v for k, v in values.items() if k in own})
        except ConfigError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise ConfigError(problems)
    return values


def field_type(config_class: type, field: dataclasses.Field[Any]) -> type:
    """int, float, bool, str, Path or tuple; an optional field gives the type beside None."""
    hint = typing.get_type_hints(config_class)[field.name]
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.get_origin(hint) or hint


def _add(group: Any, field: Any, kind: type) -> None:
    text = field.metadata["help"].replace("%", "%%")
    if kind is bool:
        group.add_argument(flag_name(field.name), action="store_true", help=text)
        return
    if kind is Path and field.default is not None:
        text += f" (default: {field.default.name}/ beside the scripts)"
    elif kind is tuple and field.default:
        text += f" (default: {' '.join(field.default)})"
    elif field.default not in (None, ()):
        text += f" (default: {field.default})"
    choices = field.metadata["choices"]
    metavar = "|".join(choices) if choices else {int: "N", float: "X", Path: "DIR"}.get(kind)
    group.add_argument(
        flag_name(field.name),
        nargs="+" if kind is tuple else None,
        metavar=field.metadata["metavar"] or metavar,
        help=text,
    )


def _convert(raw: Any, kind: type) -> Any:
    if kind is bool:
        return raw
    return tuple(raw) if kind is tuple else kind(raw)


def as_argv(
    values: dict[str, Any], config_class: type, *more: str, only: tuple[str, ...] = ()
) -> list[str]:
    """The flags of one configuration class as a command line.

    `more` names fields of other classes to take along, `only` those to leave it at.
    """
    own = only or ({field.name for field in dataclasses.fields(config_class)} | set(more))
    argv = []
    for name, value in values.items():
        if name in own and value is not False:
            parts = value if isinstance(value, tuple) else () if value is True else (value,)
            argv += [flag_name(name), *map(str, parts)]
    return argv
