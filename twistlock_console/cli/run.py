"""`twistlock-console run`: this host's node."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from twistlock_console import plugins
from twistlock_console.cli.options import config_option
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.bootstrap import create_users, initiate_set
from twistlock_console.database.epoch import load_epoch
from twistlock_console.database.known_members import read_known_members
from twistlock_console.logs.setup import log_as_node
from twistlock_console.node.context import RoleController
from twistlock_console.node.lifecycle import (
    Signals,
    create_identity,
    ensure_certificate_current,
    lock_data_folder,
)
from twistlock_console.node.node import Node
from twistlock_console.node.standalone_role import StandaloneRole
from twistlock_console.pki.certificates import node_names
from twistlock_console.plugins import ConsolePlugin, PluginError
from twistlock_console.servers.management.server import prebuild
from twistlock_console.servers.supervisor import forkserver
from twistlock_console.settings import (
    Settings,
    check_ports_free,
    load_settings,
)

RETRY_INTERVAL_S = 2.0
log = logging.getLogger(__name__)


@click.command("run", help="Run this host's node in the foreground.")
@config_option
def command(config: Path) -> None:
    """Run the node that *config* describes until a signal ends it."""
    settings = load_settings(config, os.environ)
    signals = Signals()
    check_ports_free(settings)
    with lock_data_folder(settings.folders), log_as_node(settings):
        run_node(settings, signals)


def run_node(settings: Settings, signals: Signals) -> None:
    """Run the node until a signal ends it; raises ConsoleError if it cannot start."""
    active = plugins.enabled(settings)
    has_joined = any(plugin.join(settings, signals.pause) for plugin in active)
    if not has_joined:
        create_identity(settings, node_names(settings, settings.node_address))
    ensure_certificate_current(settings)
    forkserver.start()
    prebuild(settings)
    node = Node(settings)
    checks = [partial(plugin.check_database_start, settings) for plugin in active]
    node.mongod.start_checks += checks
    controller = _plugins_controller(node, active)
    prepare = partial(_create_replica_set, settings, active)
    try:
        node.open_api()
        while not _is_ready(node, None if has_joined else prepare, signals):
            node.start(controller)
            if signals.wait_for(RETRY_INTERVAL_S):
                return
        controller = controller or _standalone_controller(node)
        node.start(controller)
        signals.wait()
    finally:
        node.stop(controller)


def _is_ready(node: Node, prepare: Callable[[], None] | None, signals: Signals) -> bool:
    """Start the database and *prepare* it; record and log a failure."""
    try:
        node.start_database(lambda: signals.has_arrived)
        if prepare is not None:
            prepare()
    except DatabaseError as error:
        if signals.has_arrived:
            return False
        problem = node.mongod.problem or str(error)
        level = logging.DEBUG if problem == node.mongod.problem else logging.ERROR
        log.log(level, "this node cannot serve yet: %s", problem)
        node.mongod.problem = problem
        return False
    node.mongod.problem = ""
    node.mongod.is_prepared = True
    return True


def _create_replica_set(settings: Settings, active: Sequence[ConsolePlugin]) -> None:
    """Create a set of one with its users, unless our member belongs to a larger one.

    Raises Refused where the node would serve beside the other members of its set.
    """
    is_clustered = any(plugin.is_clustered for plugin in active)
    differing: dict[str, int] = {}
    for plugin in active:
        differing.update(plugin.replica_set_settings(settings))
    is_created = initiate_set(
        settings,
        differing,
        may_create=not read_known_members(settings.folders),
        may_rehost=not is_clustered,
    )
    if is_created:
        create_users(settings)
    elif not is_clustered:
        raise Refused(
            "this node's database belongs to a cluster of several nodes, and without "
            "high availability it would serve beside them; set "
            "HIGH_AVAILABILITY_ENABLED=true, or remove the node on the primary's page "
            "and uninstall it (twistlock.sh -u)"
        )


def _plugins_controller(
    node: Node, active: Sequence[ConsolePlugin]
) -> RoleController | None:
    """Start every plugin on *node*; return the role controller of a plugin, if any."""
    made = [(plugin.name, plugin.init_node(node.context)) for plugin in active]
    controllers = {name: controller for name, controller in made if controller}
    if len(controllers) > 1:
        names = " and ".join(controllers)
        raise PluginError(f"{names} both control the role; disable one of them")
    return next(iter(controllers.values()), None)


def _standalone_controller(node: Node) -> RoleController:
    """Return the controller of a node that no plugin controls."""
    epoch = max(load_epoch(node.backups.database), 1)
    return StandaloneRole(node.ports, node.permit, node.bus, epoch=epoch)
