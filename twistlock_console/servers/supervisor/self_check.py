"""Asks this node's own pages whether they answer, over TLS, as a user would."""

import urllib3

from twistlock_console.pki.certificates import client_context
from twistlock_console.pki.reloading_tls import FollowedContext
from twistlock_console.settings import Settings

PING = "/api/v1/_ping"
# Goes all the way to the database and back.
INITIALIZED = "/api/v1/settings/initialized"


class OwnPages:
    """The pages of the node that has *settings*, asked from itself."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.node_address
        self._port = settings.management_port_https
        folder = settings.folders.certificates
        # Made once: reading the certificates takes longer than an answer.
        self._tls = FollowedContext(lambda: client_context(folder), folder)

    def answer(self, path: str, seconds: float) -> bool:
        """Whether *path* is answered without a server error, within *seconds*."""
        with urllib3.HTTPSConnectionPool(
            self._address,
            self._port,
            ssl_context=self._tls.now(),
            timeout=urllib3.Timeout(total=seconds),
            retries=False,
        ) as pool:
            try:
                return pool.request("GET", path).status < 500
            except urllib3.exceptions.HTTPError:
                return False
