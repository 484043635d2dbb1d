"""Shared parts of the commands: the group that loads them, options, and printing."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from twistlock_console.settings import Settings, load_settings

F = TypeVar("F", bound=Callable[..., object])
#: twistlock.sh sets the variable where DATA_FOLDER is another.
CONFIG_VARIABLE = "TWISTLOCK_CONFIG"
DEFAULT_CONFIG = Path("/var/lib/twistlock/scripts/twistlock.cfg")
PROGRESS_COLUMNS = 70


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is used.

    Importing all of them takes a second. The place of a command is "module:attribute",
    or "module" for the attribute `command`.
    """

    def __init__(self, modules: Callable[[], Mapping[str, str]], **how: Any) -> None:
        super().__init__(**how)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        del ctx
        return list(self._modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command *cmd_name*, or None."""
        del ctx
        place = self._modules().get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found: click.Command = getattr(import_module(module), name or "command")
        return found


def config_option(function: F) -> F:
    """Add the option `--config FILE` to the command *function*."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=lambda: Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG)),
        metavar="FILE",
        help="The twistlock.cfg to read.",
    )(function)


def json_option(function: F) -> F:
    """Add the option `--json` to the command *function*."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def settings_of_running_node(config: Path) -> Settings:
    """Read *config* without checks of this host; raises SettingsError."""
    return load_settings(config, os.environ, on_this_host=False)


def print_line(text: object = "", *, end: str = "\n") -> None:
    """Print *text* on standard output."""
    click.echo(f"{text}{end}", nl=False)


def print_json(value: object) -> None:
    """Print *value* as one line of JSON."""
    click.echo(json.dumps(value))


def print_row(cells: Sequence[object], widths: Sequence[int]) -> None:
    """Print *cells* in columns of *widths* characters; further cells as they are."""
    padded = [f"{cell:<{w}}" for cell, w in zip(map(str, cells), widths, strict=False)]
    click.echo(" ".join([*padded, *map(str, cells[len(widths) :])]).rstrip())


def print_error(text: object) -> None:
    """Print *text* on standard error."""
    click.echo(str(text), err=True)


def show_progress(line: str) -> None:
    """Replace the last line of the terminal with *line*; print nothing elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r{line:<{PROGRESS_COLUMNS}}", err=True, nl=False)
