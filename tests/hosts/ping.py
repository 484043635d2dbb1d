"""Asks a node's management port for `_ping`, as a load balancer does."""

import urllib3

from twistlock_console.pki.tls import client_context
from twistlock_console.servers.management.fixed_answers import PING
from twistlock_console.settings import Settings


def answers_ping(settings: Settings, seconds: float) -> bool:
    """Say whether the node with *settings* answers within *seconds*."""
    with urllib3.HTTPSConnectionPool(
        settings.node_address,
        settings.management_port_https,
        ssl_context=client_context(settings.folders.certificates),
        timeout=urllib3.Timeout(total=seconds),
        retries=False,
    ) as pool:
        try:
            return bool(pool.request("GET", PING).status < 500)
        except urllib3.exceptions.HTTPError:
            return False
