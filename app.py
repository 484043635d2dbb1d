"""The Console's program: reads the command line and runs one command.

Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from twistlock_console import __version__, plugins
from twistlock_console.common.errors import ConsoleError
from twistlock_console.logs.setup import configure_logging

# twistlock.sh sets the variable where DATA_FOLDER is another.
DEFAULT_CONFIG = Path(
    os.environ.get("TWISTLOCK_CONFIG", "/var/lib/twistlock/scripts/twistlock.cfg")
)
#: The module of each command of the core. Only that of the command that is asked for
#: is imported: all of them take a second.
COMMANDS = {
    "run": "twistlock_console.cli.run",
    "status": "twistlock_console.cli.status",
    "config": "twistlock_console.cli.config",
    "certs": "twistlock_console.cli.certs",
    "backup": "twistlock_console.cli.backup",
    "restore": "twistlock_console.cli.restore",
    "user": "twistlock_console.cli.user",
    "defender": "twistlock_console.cli.defender",
    "support": "twistlock_console.cli.support",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(words).parse_args(words)
        configure_logging(options.log_level)
        return int(options.run(options) or 0)
    except ConsoleError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Give a parser of *words*: of their first command, or of all where none is."""
    parser = argparse.ArgumentParser(prog="twistlock-console")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error")
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = all_commands()
    asked = next((word for word in words if word in modules), None)
    for module in [modules[asked]] if asked else modules.values():
        import_module(module).add_to(commands, DEFAULT_CONFIG)
    return parser


def all_commands() -> dict[str, str]:
    """Return the module of each command, of the core and of the installed plugins."""
    found = dict(COMMANDS)
    for plugin in plugins.installed():
        found.update(plugin.commands())
    return found


if __name__ == "__main__":
    sys.exit(main())
