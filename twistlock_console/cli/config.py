"""`twistlock-console config`: what twistlock.cfg says, or all that is wrong with it."""

import argparse
import os
from pathlib import Path

from twistlock_console.settings import load_settings
from twistlock_console.settings.export import values_of


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
