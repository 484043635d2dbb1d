"""`twistlock-console config`: what twistlock.cfg says, or all that is wrong with it."""

import argparse
import os
from enum import StrEnum
from pathlib import Path

from twistlock_console.settings import Settings, load_settings
from twistlock_console.settings.keys import KEYS


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    command = commands.add_parser(
        "config", help="check twistlock.cfg and show every setting"
    )
    command.add_argument("--config", type=Path, default=config, metavar="FILE")
    command.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ)
    for key, value in values_of(settings).items():
        print(f"{key}={value}")  # noqa: T201


def values_of(settings: Settings) -> dict[str, str]:
    """Every setting as twistlock.cfg would have it."""
    return {key.name: _text(getattr(settings, key.attribute)) for key in KEYS}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case StrEnum():
            return value.value
        case _:
            return str(value)
