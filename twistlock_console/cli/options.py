"""What commands have in common: the group that loads them, and their options."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from twistlock_console.settings import Settings, load_settings

#: twistlock.sh sets the variable where DATA_FOLDER is another.
CONFIG_VARIABLE = "TWISTLOCK_CONFIG"
DEFAULT_CONFIG = Path("/var/lib/twistlock/scripts/twistlock.cfg")


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is used.

    Importing all of them takes a second. Each module has its click command in
    `command`.
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
        module = self._modules().get(cmd_name)
        if module is None:
            return None
        found: click.Command = import_module(module).command
        return found


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command *function* its option `--config FILE`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=lambda: Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG)),
        metavar="FILE",
        help="The twistlock.cfg to read.",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command *function* its option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def settings_of_running_node(config: Path) -> Settings:
    """Read *config* without looking at this host; raises SettingsError."""
    return load_settings(config, os.environ, on_this_host=False)
