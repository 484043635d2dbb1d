"""Define the plugin interface, and find the installed plugins.

A plugin is one object, named by an entry point of the group
``twistlock_console.plugins``. The same object is loaded in the node process, in the
management server and by the command line; each calls only its part. The core knows
plugins through this module alone. docs/plugins.md explains it with an example.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from twistlock_console.common.errors import ConsoleError

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

    from twistlock_console.accounts.rights import Area
    from twistlock_console.alerts.kinds import AlertKind
    from twistlock_console.node.context import NodeContext, RoleController
    from twistlock_console.settings import Settings
    from twistlock_console.settings.checks import Finding
    from twistlock_console.settings.keys import Key

GROUP = "twistlock_console.plugins"
#: Raised when a change of this interface breaks plugins that were written before it.
INTERFACE_VERSION = 1


class PluginError(ConsoleError):
    """A plugin that is installed cannot be used; the message names it."""


class ConsolePlugin:
    """Base class of plugins; every member but *name* has a default.

    Importing the module of a plugin must be cheap and must touch nothing outside:
    every program of the Console does it. Import what a part needs inside that part.
    """

    name: str
    #: The version of this interface that the plugin was written for.
    interface_version = INTERFACE_VERSION
    #: Keys of twistlock.cfg; `Settings.plugin_values` has their values by name.
    settings: tuple["Key", ...] = ()
    #: Areas of the table of rights; guards of pages and API calls name them.
    rights: tuple["Area", ...] = ()
    #: Types of entries in the history of changes, beside those of the core.
    audit_kinds: tuple[str, ...] = ()
    #: Kinds of alerts, each with its switch and its threshold on the page.
    alert_kinds: tuple["AlertKind", ...] = ()
    #: Patterns of collections that no backup holds and no restore touches: `name_*`.
    backup_exclusions: tuple[str, ...] = ()
    #: Several nodes share one replica set, and the role controller of this plugin
    #: decides which of them serves.
    is_clustered = False

    def enabled(self, settings: "Settings") -> bool:
        """Return whether *settings* switch the plugin on."""
        del settings
        return True

    def check_settings(self, settings: "Settings") -> Iterable["Finding"]:
        """Find values that do not go together, also where the plugin is off."""
        del settings
        return ()

    def check_host(
        self, settings: "Settings", environ: Mapping[str, str], root: "Path"
    ) -> Iterable["Finding"]:
        """Find what this host lacks or forbids; *root* is `/` except in tests."""
        del settings, environ, root
        return ()

    def init_app(self, app: "Flask") -> None:
        """Add blueprints, menu pages, banners and metrics to the web application."""

    def join(self, settings: "Settings", pause: Callable[[float], None]) -> bool:
        """Obtain the identity of this node from another node, before the node starts.

        Args:
            settings: the settings of this node.
            pause: waits the given seconds; raises Interrupted when a signal asks
                the node to stop.

        Returns:
            True if another node provided identity and data of this node, now or
            earlier: then the core creates neither.

        """
        del settings, pause
        return False

    def check_database_start(self, settings: "Settings") -> None:
        """Raise ConsoleError while mongod must not start; called before each start.

        The supervisor of mongod calls it again with backoff until it returns.
        """
        del settings

    def node_addresses(self, settings: "Settings") -> Collection[str]:
        """Return the addresses that must reach MongoDB and the node API of this host.

        Called by a command, also while the node does not run.
        """
        del settings
        return ()

    def replica_set_settings(self, settings: "Settings") -> Mapping[str, int]:
        """Return the `settings` of a new replica set that differ from the core's."""
        del settings
        return {}

    def init_node(self, node: "NodeContext") -> "RoleController | None":
        """Add jobs, checks, routes and subscriptions to the node process.

        Called before the database answers; it may take long to answer.

        Returns:
            The controller of the node's role, or None. At most one plugin may return
            one; without any the node always serves.

        """
        del node
        return None

    def commands(self) -> Mapping[str, str]:
        """Return the module of each command line command, by the command's name."""
        return {}


@cache
def installed() -> tuple[ConsolePlugin, ...]:
    """Return every installed plugin, sorted by name.

    Raises:
        PluginError: a plugin cannot be loaded, or needs another interface version.

    """
    found = [_load(point) for point in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda plugin: plugin.name))


def enabled(settings: "Settings") -> tuple[ConsolePlugin, ...]:
    """Return the installed plugins that *settings* switch on; raises PluginError."""
    return tuple(plugin for plugin in installed() if plugin.enabled(settings))


def _load(point: EntryPoint) -> ConsolePlugin:
    try:
        plugin = point.load()
    except Exception as error:
        raise PluginError(
            f"the plugin {point.name} ({point.value}) cannot be loaded: {error}; "
            "install it again, or uninstall it"
        ) from error
    if not isinstance(plugin, ConsolePlugin):
        raise PluginError(
            f"the plugin {point.name} ({point.value}) is not a ConsolePlugin; install "
            "a release of it that fits this Console, or uninstall it"
        )
    if plugin.interface_version != INTERFACE_VERSION:
        raise PluginError(
            f"the plugin {point.name} was written for version "
            f"{plugin.interface_version} of the plugin interface and this Console has "
            f"version {INTERFACE_VERSION}; install a release of it that fits"
        )
    return plugin
