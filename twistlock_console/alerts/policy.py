"""Makes the TargetPolicy of this moment, from the settings and the replica set."""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from twistlock_console.alerts.targets import Address, TargetPolicy
from twistlock_console.database.client import Db
from twistlock_console.settings import Settings


def current_policy(settings: Settings, database: Db) -> TargetPolicy:
    """Return where alerts may go now; raises PyMongoError."""
    hosts = database.client.admin.command("hello").get("hosts", [])
    members = [str(host).rpartition(":")[0] for host in hosts]
    ports = (
        settings.management_port_https,
        settings.management_port_ui,
        settings.communication_port,
        settings.node_api_port,
        settings.database_port,
    )
    names = (settings.console_cn, *settings.console_san)
    return TargetPolicy(
        allowed=settings.alert_targets_allowed,
        nodes=frozenset(_addresses([*members, settings.node_address, *names])),
        names=frozenset(name.lower() for name in names),
        ports=frozenset(port for port in ports if port),
    )


def _addresses(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        with suppress(ValueError):
            yield ip_address(text)
