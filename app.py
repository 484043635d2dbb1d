"""The Console's program: puts core and plugins together, and reads its command line.

It is the only place that knows both. Exit codes: 0 done, 1 refused or failed (one
sentence on standard error), 2 wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from plugins.ha import commands as ha_commands
from plugins.ha import load_balancer_command
from plugins.ha.demo import command as demo_command
from plugins.ha.join import join, must_join
from plugins.ha.node_routes import node_routes
from plugins.ha.room import HighAvailability
from twistlock_console import (
    __version__,
    certs_command,
    config_command,
    status_command,
    support_command,
)
from twistlock_console.accounts import reset_command
from twistlock_console.alone import Alone
from twistlock_console.backups import command as backup_command
from twistlock_console.backups import restore_command
from twistlock_console.database.bootstrap import create_users, initiate_set
from twistlock_console.errors import ConsoleError
from twistlock_console.kept_epoch import kept_epoch
from twistlock_console.listeners import warm
from twistlock_console.listeners.management import rehearse
from twistlock_console.logs import configure_logging, log_as_node
from twistlock_console.node import Node, RoleKeeper
from twistlock_console.running import (
    Signals,
    fit_identity,
    found_identity,
    node_names,
    sole_node,
)
from twistlock_console.settings import (
    InitialState,
    Settings,
    check_ports_free,
    load_settings,
)

# twistlock.sh sets the variable where DATA_FOLDER is another.
DEFAULT_CONFIG = Path(
    os.environ.get("TWISTLOCK_CONFIG", "/var/lib/twistlock/scripts/twistlock.cfg")
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging(options.log_level)
    try:
        return int(options.run(options) or 0)
    except ConsoleError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="twistlock-console")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error")
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run this host's node in the foreground")
    run.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE")
    run.set_defaults(run=_run)
    parts = (
        status_command,
        config_command,
        certs_command,
        ha_commands,
        backup_command,
        restore_command,
        load_balancer_command,
        reset_command,
        support_command,
        demo_command,
    )
    for part in parts:
        part.add_to(commands, DEFAULT_CONFIG)
    return parser


def _run(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ)
    signals = Signals()
    check_ports_free(settings)
    with sole_node(settings.folders), log_as_node(settings):
        run_node(settings, signals)


def run_node(settings: Settings, signals: Signals) -> None:
    """Run the node until a signal ends it; raises ConsoleError if it cannot start."""
    joins = (
        settings.high_availability_enabled
        and settings.high_availability_state is InitialState.SECONDARY
    )
    if joins and must_join(settings):
        join(settings, signals.pause)
    if not joins:
        found_identity(settings, node_names(settings, settings.node_address))
    fit_identity(settings)
    warm.start()
    rehearse(settings)
    node = Node(settings)
    keeper: RoleKeeper | None = None
    try:
        node.start_database()
        if not joins and initiate_set(settings):
            create_users(settings)
        keeper = _keeper(node)
        node.start(keeper)
        signals.wait()
    finally:
        node.stop(keeper)


def _keeper(node: Node) -> RoleKeeper:
    if not node.settings.high_availability_enabled:
        epoch = max(kept_epoch(node.backups.database), 1)
        return Alone(node.ports, node.permit, node.bus, epoch=epoch)
    room = HighAvailability(node)
    node.routes.register_blueprint(node_routes(room))
    return room


if __name__ == "__main__":
    sys.exit(main())
