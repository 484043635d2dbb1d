"""`twistlock-console run`: this host's node, with high availability or without."""

import argparse
import os
from pathlib import Path

from plugins.ha.membership.join_client import join, must_join
from plugins.ha.routes import node_routes
from plugins.ha.runtime import HighAvailability
from twistlock_console.common.errors import Refused
from twistlock_console.database.bootstrap import create_users, initiate_set
from twistlock_console.database.epoch import kept_epoch
from twistlock_console.logs.setup import log_as_node
from twistlock_console.node.lifecycle import (
    Signals,
    fit_identity,
    found_identity,
    node_names,
    sole_node,
)
from twistlock_console.node.node import Node, RoleKeeper
from twistlock_console.node.standalone_role import Alone
from twistlock_console.servers.management.server import rehearse
from twistlock_console.servers.supervisor import forkserver
from twistlock_console.settings import (
    InitialState,
    Settings,
    check_ports_free,
    load_settings,
)


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    run = commands.add_parser("run", help="run this host's node in the foreground")
    run.add_argument("--config", type=Path, default=config, metavar="FILE")
    run.set_defaults(run=_run)


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
    forkserver.start()
    rehearse(settings)
    node = Node(settings)
    keeper: RoleKeeper | None = None
    try:
        node.start_database()
        if not joins:
            _found_set(settings)
        keeper = _keeper(node)
        node.start(keeper)
        signals.wait()
    finally:
        node.stop(keeper)


def _found_set(settings: Settings) -> None:
    """Make a set of one with its users, unless our member belongs to a larger one.

    Raises Refused where the node would serve without asking that one's lease.
    """
    if initiate_set(settings):
        create_users(settings)
    elif not settings.high_availability_enabled:
        raise Refused(
            "this node's database belongs to a cluster of several nodes, and without "
            "high availability it would serve beside them; set "
            "HIGH_AVAILABILITY_ENABLED=true, or remove the node on the primary's page "
            "and uninstall it (twistlock.sh -u)"
        )


def _keeper(node: Node) -> RoleKeeper:
    if not node.settings.high_availability_enabled:
        epoch = max(kept_epoch(node.backups.database), 1)
        return Alone(node.ports, node.permit, node.bus, epoch=epoch)
    room = HighAvailability(node)
    node.routes.register_blueprint(node_routes(room))
    return room
