"""The table of keys that twistlock.cfg may hold: names, defaults, meanings.

Plugins add keys of their own (`ConsolePlugin.settings`).

The shipped twistlock.cfg and docs/settings.md are tested against this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from twistlock_console import plugins
from twistlock_console.settings.parsers import (
    address,
    cache,
    common_name,
    file,
    folder,
    log_format,
    names,
    networks,
    port,
    port_or_none,
    proxies,
    true_or_false,
)
from twistlock_console.settings.values import Settings


@dataclass(frozen=True, slots=True)
class Key:
    """One key; *parse* raises ValueError, whose text describes a valid value."""

    name: str
    default: str
    parse: Callable[[str], object]
    help: str
    field: str = ""

    @property
    def attribute(self) -> str:
        """Return the field of Settings that this key fills."""
        return self.field or self.name.lower()


KEYS = (
    Key(
        "MANAGEMENT_PORT_HTTPS",
        "8083",
        port,
        "Port of the pages and the API over HTTPS.",
    ),
    Key(
        "MANAGEMENT_PORT_UI",
        "8443",
        port_or_none,
        "A second port of the pages; empty disables it.",
    ),
    Key(
        "COMMUNICATION_PORT",
        "8084",
        port,
        "Port to which Defenders hold their websockets.",
    ),
    Key(
        "TRUSTED_PROXIES",
        "",
        proxies,
        "Addresses and networks of load balancers, with commas between: connections "
        "from there come from many clients, so no limit per address holds for them.",
    ),
    Key(
        "NODE_ADDRESS",
        "",
        address,
        "This host's IPv4 address, by which the other nodes reach it; "
        "empty: the one on the default route.",
    ),
    Key(
        "CONSOLE_CN",
        "",
        common_name,
        "Common name in the Console's certificate; "
        "empty: this host's full name. It need not be changed.",
    ),
    Key(
        "CONSOLE_SAN",
        "",
        names,
        "Further names and addresses in the Console's certificate, "
        "with commas between: the load balancer's above all.",
    ),
    Key(
        "DATA_RECOVERY_ENABLED",
        "true",
        true_or_false,
        "Whether a backup is made every 24 hours.",
    ),
    Key(
        "DATA_RECOVERY_VOLUME",
        "/var/lib/twistlock-backup",
        folder,
        "Folder that backups are written to, best on durable storage elsewhere.",
    ),
    Key(
        "DATA_RECOVERY_KEY_FILE",
        "",
        file,
        "Full path of a file, the same on every node, that encrypts the Console's keys "
        "in backups; empty: automatic backups hold none.",
    ),
    Key(
        "DATA_FOLDER",
        "/var/lib/twistlock",
        folder,
        "Folder of the database, logs, certificates and secrets of this node.",
    ),
    Key(
        "PROJECTS_ENABLED",
        "false",
        true_or_false,
        "Whether Projects are used; they exclude high availability.",
    ),
    Key(
        "LOG_FORMAT",
        "json",
        log_format,
        "Format of the log: json, one object per line for programs, or human.",
    ),
    Key(
        "ALERT_TARGETS_ALLOWED",
        "",
        networks,
        "Networks, with commas between, that alerts may be sent to although they are "
        "loopback, link-local or reserved, or the Console's own nodes.",
    ),
    Key(
        "DATABASE_PORT",
        "27017",
        port,
        "Port of this node's MongoDB.",
    ),
    Key(
        "MONGOD_BINARY",
        "",
        file,
        "Full path of the mongod to run; "
        "empty: the one on PATH, else the one that came with the Console.",
    ),
    Key(
        "DATABASE_CACHE_GB",
        "",
        cache,
        "Gigabytes of memory for the database's cache, from 0.25; empty: 0.5.",
    ),
    Key(
        "HIGH_AVAILABILITY_PORT",
        "8086",
        port,
        "Port on which the nodes and the command line talk to this node.",
        "node_api_port",
    ),
)


def all_keys() -> tuple[Key, ...]:
    """Return every key, those of plugins after the core's."""
    added = (key for plugin in plugins.installed() for key in plugin.settings)
    return (*KEYS, *added)


IGNORED_KEYS = frozenset(
    {
        "DEFENDER_CN",
        "DEFENDER_LISTENER_TYPE",
        "DISABLE_CONSOLE_CGROUP_LIMITS",
        "DOCKER_SOCKET",
        "DOCKER_TWISTLOCK_TAG",
        "HOST_OS_DISTRIBUTION",
        "HTTP_PROXY",
        "MANAGEMENT_PORT_HTTP",
        "NO_PROXY",
        "READ_ONLY_FS",
        "RUN_CONSOLE_AS_ROOT",
        "SCAP_ENABLED",
        "SELINUX_LABEL",
        "SKIP_DELETE",
        "SYSTEMD_ENABLED",
    }
)
"""Keys of the original product's twistlock.cfg, accepted and ignored."""


def values_of(settings: Settings) -> dict[str, str]:
    """Return every setting by key, formatted for twistlock.cfg."""
    core = {key.name: getattr(settings, key.attribute) for key in KEYS}
    values = {**core, **settings.plugin_values}
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case StrEnum():
            return value.value
        case _:
            return str(value)
