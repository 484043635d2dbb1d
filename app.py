"""The Console's program: reads the command line and runs one command.

Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage.
"""

import sys
from collections.abc import Mapping, Sequence

import click

from twistlock_console import __version__, plugins
from twistlock_console.cli.options import LazyGroup, print_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.logs.setup import configure_logging

#: The place of each command of the core: see `LazyGroup`.
COMMANDS = {
    "run": "twistlock_console.cli.run",
    "status": "twistlock_console.cli.node:status_command",
    "config": "twistlock_console.cli.settings:config_command",
    "certs": "twistlock_console.cli.node:certs_command",
    "backup": "twistlock_console.cli.backup",
    "restore": "twistlock_console.cli.restore",
    "user": "twistlock_console.cli.user",
    "defender": "twistlock_console.cli.defender",
    "support": "twistlock_console.cli.support",
    "firewall": "twistlock_console.cli.settings:firewall_command",
}
PROGRAM = "twistlock-console"
LOG_LEVELS = ("debug", "info", "warning", "error")


def all_commands() -> Mapping[str, str]:
    """Return the place of each command, of the core and of the installed plugins."""
    found = dict(COMMANDS)
    for plugin in plugins.installed():
        found.update(plugin.commands())
    return found


@click.group(
    PROGRAM,
    cls=LazyGroup,
    modules=all_commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(version)s")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info")
def console(log_level: str) -> None:
    """Run and operate the Console on this host."""
    configure_logging(log_level)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    try:
        result = console.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except ConsoleError as error:
        print_error(error)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
