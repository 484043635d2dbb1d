"""Asks this node's own pages whether they answer, over TLS, as a user would."""

import urllib3

from twistlock_console.certificates import client_context
from twistlock_console.settings import Settings

PING = "/api/v1/_ping"
# Goes all the way to the database and back.
INITIALIZED = "/api/v1/settings/initialized"


def answers(settings: Settings, path: str, seconds: float) -> bool:
    """Whether *path* is answered without a server error, within *seconds*."""
    with urllib3.HTTPSConnectionPool(
        settings.node_address,
        settings.management_port_https,
        ssl_context=client_context(settings.folders.certificates),
        timeout=urllib3.Timeout(total=seconds),
        retries=False,
    ) as pool:
        try:
            return pool.request("GET", path).status < 500
        except urllib3.exceptions.HTTPError:
            return False
