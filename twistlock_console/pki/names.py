"""The names in the certificate of a node."""

from twistlock_console.settings import Settings


def node_names(settings: Settings, address: str) -> list[str]:
    """The names in a node's certificate: its own, and the load balancer's."""
    names = [address, "127.0.0.1", "localhost", settings.console_cn]
    return list(dict.fromkeys([*names, *settings.console_san]))
