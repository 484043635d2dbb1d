"""Define the high availability plugin: everything that it adds to the Console.

Its parts are imported where they are used: every program of the Console loads this
module, also if high availability is disabled.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from plugins.ha import settings as ha_settings
from plugins.ha.declarations import (
    CONSOLE_SCRIPTS,
    HIGH_AVAILABILITY,
    MEMBER_LAG,
    NODE_LOST,
)
from plugins.ha.settings import HaSettings, InitialState
from twistlock_console.events.types import (
    ClusterPolled,
    DatabaseStopped,
    ListenerFailed,
    ListenersPaused,
    RoleChanged,
)
from twistlock_console.plugins import ConsolePlugin
from twistlock_console.settings import Settings
from twistlock_console.settings.checks import Finding

if TYPE_CHECKING:
    from flask import Flask

    from twistlock_console.node.context import NodeContext, RoleController


class HighAvailabilityPlugin(ConsolePlugin):
    """Keeps one of three Consoles serving; see docs/high-availability.md."""

    name = "high-availability"
    settings = ha_settings.KEYS
    rights = (HIGH_AVAILABILITY, CONSOLE_SCRIPTS)
    alert_kinds = (NODE_LOST, MEMBER_LAG)
    backup_exclusions = ("ha_*",)
    is_clustered = True

    def enabled(self, settings: Settings) -> bool:
        """Return HIGH_AVAILABILITY_ENABLED."""
        return HaSettings.of(settings).enabled

    def check_settings(self, settings: Settings) -> Iterable[Finding]:
        """Yield values that contradict each other."""
        return ha_settings.check_settings(settings)

    def check_host(
        self, settings: Settings, environ: Mapping[str, str], root: Path
    ) -> Iterable[Finding]:
        """Yield a finding if a cluster manager runs this host."""
        del settings
        return ha_settings.check_host(environ, root)

    def init_app(self, app: "Flask") -> None:
        """Register the pages, the API and the metrics."""
        from plugins.ha import web

        web.init_app(app)

    def join(self, settings: Settings, pause: Callable[[float], None]) -> bool:
        """Join the cluster, unless this node is its first one or a member already.

        Returns:
            Whether this node joined the cluster, now or before.
        """
        if HaSettings.of(settings).state is not InitialState.SECONDARY:
            return False
        from plugins.ha.membership.join_client import check_secrets, join, must_join

        if must_join(settings):
            join(settings, pause)
        check_secrets(settings)
        return True

    def check_database_start(self, settings: Settings) -> None:
        """Ask the primary to remove this node's vote, if its database is empty."""
        from plugins.ha.membership.known_nodes import give_up_vote_if_empty

        give_up_vote_if_empty(settings)

    def node_addresses(self, settings: Settings) -> Collection[str]:
        """Return the addresses of the members and of the hosts that ask to join."""
        from plugins.ha.membership.known_nodes import node_addresses

        return node_addresses(settings)

    def replica_set_settings(self, settings: Settings) -> Mapping[str, int]:
        """Return the election timeout for the replica set's configuration."""
        return {"electionTimeoutMillis": HaSettings.of(settings).election_timeout_ms}

    def init_node(self, node: "NodeContext") -> "RoleController":
        """Return the role controller, subscribed to the events of *node*."""
        from plugins.ha.routes import node_routes
        from plugins.ha.runtime import HaRuntime

        runtime = HaRuntime(node)
        node.cluster_poll.interval_s = (
            HaSettings.of(node.settings).poll_interval_ms / 1000
        )
        node.bus.subscribe(ClusterPolled, runtime.on_cluster_polled)
        node.bus.subscribe(RoleChanged, runtime.on_role_changed)
        node.bus.subscribe(ListenerFailed, runtime.on_listener_failed)
        node.bus.subscribe(ListenersPaused, runtime.on_listeners_paused)
        node.bus.subscribe(DatabaseStopped, runtime.on_database_stopped)
        node.node_api.register_blueprint(node_routes(runtime))
        return runtime

    def commands(self) -> Mapping[str, str]:
        """Return the commands `ha` and `loadbalancer`."""
        return {
            "ha": "plugins.ha.cli.ha",
            "loadbalancer": "plugins.ha.cli.load_balancer",
        }


plugin = HighAvailabilityPlugin()
