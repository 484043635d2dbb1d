"""The Console's program: puts core and plugins together, and reads its command line.

It is the only place that knows both. Exit codes: 0 done, 1 refused or failed (one
sentence on standard error), 2 wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from twistlock_console import __version__
from twistlock_console.common.errors import ConsoleError
from twistlock_console.logs.setup import configure_logging

# twistlock.sh sets the variable where DATA_FOLDER is another.
DEFAULT_CONFIG = Path(
    os.environ.get("TWISTLOCK_CONFIG", "/var/lib/twistlock/scripts/twistlock.cfg")
)
#: The module of each command. Only that of the command that is asked for is imported:
#: all of them take a second.
COMMANDS = {
    "run": "plugins.ha.cli.run",
    "status": "twistlock_console.cli.status",
    "config": "twistlock_console.cli.config",
    "certs": "twistlock_console.cli.certs",
    "ha": "plugins.ha.cli.ha",
    "backup": "twistlock_console.cli.backup",
    "restore": "twistlock_console.cli.restore",
    "loadbalancer": "plugins.ha.cli.load_balancer",
    "user": "twistlock_console.cli.user",
    "defender": "twistlock_console.cli.defender",
    "support": "twistlock_console.cli.support",
    "demo": "demo.command",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser(words).parse_args(words)
    configure_logging(options.log_level)
    try:
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
    asked = next((word for word in words if word in COMMANDS), None)
    # The demo is not in the release.
    present = {n: m for n, m in COMMANDS.items() if find_spec(m.split(".")[0])}
    for module in [COMMANDS[asked]] if asked else present.values():
        import_module(module).add_to(commands, DEFAULT_CONFIG)
    return parser


if __name__ == "__main__":
    sys.exit(main())
