"""Whether the Console at the other end of a connection still lives.

It is asked with a websocket ping, which it answers however slow its database is.
"""

import asyncio

from websockets.asyncio.client import ClientConnection

from twistlock_defender.clock import boottime
from twistlock_defender.errors import Silent

PING_SECONDS = 30.0


class Liveness:
    """Watches *connection*; *patience* is in seconds."""

    def __init__(self, connection: ClientConnection, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._heard = boottime()
        self._waiting_since: float | None = None
        self._ping: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """Note a sign of life."""
        self._heard, self._waiting_since = boottime(), None

    def waits(self) -> None:
        """Note that from now on we wait for one, unless we do already."""
        self._waiting_since = self._waiting_since or boottime()

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
        waited = now - (self._waiting_since or now)
        if waited >= self._patience:
            raise Silent(f"the Console has been silent for {self._patience:g} s")
        quiet = now - self._heard >= PING_SECONDS
        if (quiet or waited >= self._patience / 2) and self._ping is None:
            self.waits()
            # Beside us: it may have to wait for a peer that reads no more.
            self._ping = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        await (await self._connection.ping())
        self._ping = None
        self.heard()
