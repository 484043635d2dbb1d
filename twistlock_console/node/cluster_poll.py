"""The scheduled poll of `rs.status()`: every node is a member of a replica set."""

import logging
from functools import cached_property

from pymongo.errors import PyMongoError

from twistlock_console.database.client import Client, Document, connect, credentials_for
from twistlock_console.events.bus import Bus
from twistlock_console.events.cluster_status import ClusterStatus
from twistlock_console.events.types import ClusterPolled
from twistlock_console.settings import Settings

TIMEOUT_MS = 5000
log = logging.getLogger(__name__)


class ClusterPoll:
    """Polls the state of the replica set and publishes ClusterPolled.

    The scheduler calls *poll* every *interval_s* seconds, which a plugin may change
    before the node starts. *status* is the last reading, None if there was none.
    """

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self.interval_s = 1.0
        self.status: ClusterStatus | None = None

    @cached_property
    def _client(self) -> Client:
        return connect(
            self._settings,
            credentials_for(self._settings, "cluster"),
            app_name="twistlock-poll",
            timeout_ms=TIMEOUT_MS,
            retry_reads=False,
        )

    def poll(self) -> None:
        """Read the status once and publish it; None if our member did not answer."""
        try:
            self.status = ClusterStatus.from_answer(
                self._run("replSetGetStatus"), self._run("replSetGetConfig")["config"]
            )
        except PyMongoError as error:
            log.debug("cannot read the status of the replica set: %s", error)
            self.status = None
        self._bus.publish(ClusterPolled(self.status))

    def close(self) -> None:
        """Close the connection to the database."""
        if "_client" in self.__dict__:
            self._client.close()

    def _run(self, command: str) -> Document:
        return self._client.admin.command(command)
