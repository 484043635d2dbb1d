"""Whether the Console at the other end of a connection still lives.

It is asked with a websocket ping, which it answers however slow its database is.
"""

import asyncio

from websockets.asyncio.client import ClientConnection

from twistlock_defender.common.clock import boottime
from twistlock_defender.common.errors import Silent

PING_SECONDS = 30.0


class Liveness:
    """Watches *connection*; *patience* is in seconds."""

    def __init__(self, connection: ClientConnection, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._heard = boottime()
        self._waiting_since: float | None = None
        self._asked_since: float | None = None
        self._ping: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """Note a sign of life."""
        self._heard = boottime()

    def waits(self) -> None:
        """Note that something is sent that must be acknowledged.

        Signs of life do not end this: a slow database is waited for, and its Console
        may die meanwhile.
        """
        self._waiting_since = self._waiting_since or boottime()

    def rests(self) -> None:
        """Note that everything is acknowledged."""
        self._waiting_since = None

    async def watch(self) -> None:
        """Ask when it has been quiet for long; raise Silent when no answer comes."""
        try:
            while True:
                self._look(boottime())
                await asyncio.sleep(min(1.0, self._patience / 12))
        finally:
            if self._ping:
                self._ping.cancel()
                await asyncio.gather(self._ping, return_exceptions=True)

    def _look(self, now: float) -> None:
        waited = self._waited(now)
        if waited >= self._patience:
            raise Silent(f"the Console has been silent for {self._patience:g} s")
        quiet = now - self._heard >= PING_SECONDS
        if (quiet or waited >= self._patience / 2) and self._ping is None:
            self._asked_since = now
            # Beside us: it may have to wait for a peer that reads no more.
            self._ping = asyncio.create_task(self._ask())

    def _waited(self, now: float) -> float:
        """Seconds without a sign of life since something should bring one."""
        since = min(self._waiting_since or now, self._asked_since or now)
        return now - max(since, self._heard)

    async def _ask(self) -> None:
        await (await self._connection.ping())
        self._ping = self._asked_since = None
        self.heard()
