"""The parts of the node process that plugins may use."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from flask import Flask

from twistlock_console.alerts.monitor import AlertMonitor
from twistlock_console.certificate_renewal.trust_migration import TrustMigration
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.node.cluster_poll import ClusterPoll
from twistlock_console.node.health import Health
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.support.bundle import Support
from twistlock_console.system.scheduler import Scheduler
from twistlock_console.system.serving_permit import Permit


class RoleController(Protocol):
    """Decides when the service ports are open."""

    def start(self) -> None:
        """Start to control the role; return at once."""

    def stop(self) -> None:
        """Give up the role; all ports refuse when it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """The parts of a node, for its plugins.

    *database* is our mongod, *node_api* the Flask application of the node API,
    *reserve_slots* keeps slots of its server free for the addresses of the members,
    *alerts* has the sources of problems, *trust_migration* waits for other nodes.
    """

    settings: Settings
    bus: Bus
    scheduler: Scheduler
    health: Health
    database: Mongod
    service_ports: ServicePorts
    permit: Permit
    node_api: Flask
    reserve_slots: Callable[[Collection[str]], None]
    support: Support
    alerts: AlertMonitor
    cluster_poll: ClusterPoll
    trust_migration: TrustMigration
