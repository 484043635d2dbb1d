"""The Defender's link: one websocket to the Console that serves, or the next try.

It never obeys a Console of an earlier epoch than it has seen.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from websockets.exceptions import WebSocketException

from twistlock_console.protocol import ProtocolError
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.errors import DefenderError, Silent
from twistlock_defender.link.backoff import (
    Target,
    failures,
    hinted_pause,
    patience,
    pause,
)
from twistlock_defender.link.dialer import Dialer
from twistlock_defender.link.epoch import HighestEpoch
from twistlock_defender.link.error_text import reason_of
from twistlock_defender.link.handshake import Greeted, greet
from twistlock_defender.link.resolver import Resolver
from twistlock_defender.link.session import Orders, Session
from twistlock_defender.store.outbox import Outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """Where the link stands; *since* when, and the last *error*, now or before."""

    connected: str | None
    since: datetime
    epoch: int
    error: str | None = None
    error_at: datetime | None = None


class Link:
    """Keeps *orders* and *outbox* in touch with a Console at one of *addresses*.

    `state` tells where it stands.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        tls: Callable[[], ssl.SSLContext],
        epochs: HighestEpoch,
        orders: Orders,
        outbox: Outbox,
    ) -> None:
        self._resolver = Resolver(addresses)
        self._tls = tls
        self._epochs = epochs
        self._orders = orders
        self._outbox = outbox
        self._session: Session | None = None
        self._obeyed = self._mistaken = 0
        self.state = LinkState(None, utc_now(), epochs.value)

    @property
    def names_trouble(self) -> str | None:
        """Which of the Console's names cannot be resolved, if one."""
        return self._resolver.trouble

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        loop = asyncio.get_running_loop()

        def on_new() -> None:
            loop.call_soon_threadsafe(self._wake)

        self._outbox.on_new = on_new
        dialer = Dialer(
            self._resolver,
            self._attempt,
            lambda greeted: self._epochs.admits(greeted.epoch),
            lambda late: late.connection.transport.abort(),
        )
        failed = 0
        try:
            while True:
                greeted = await dialer.dial(failed)
                began, later = boottime(), greeted.epoch > self._obeyed
                rest = await self._visit(greeted)
                failed = failures(failed, boottime() - began, later_epoch=later)
                await asyncio.sleep(rest or pause(failed, _chance()))
        finally:
            self._outbox.on_new = lambda: None
            self._resolver.close()

    async def _attempt(self, target: Target) -> Greeted | None:
        try:
            return await greet(target, self._tls(), self._epochs)
        except (OSError, WebSocketException, ProtocolError, DefenderError) as error:
            self._tell(connected=None, error=f"{target}: {reason_of(error)}")
            return None

    async def _visit(self, greeted: Greeted) -> float:
        """Stay with the Console; gives the seconds it asked us to stay away, or 0."""
        if greeted.epoch > self._obeyed:
            self._obeyed, self._mistaken = greeted.epoch, 0
        session = Session(
            greeted.connection,
            self._orders,
            self._outbox,
            patience(self._mistaken),
            renews=greeted.renews,
        )
        self._session = session
        log.info("connected to %s, epoch %d", greeted.target, greeted.epoch)
        self._tell(connected=str(greeted.target))
        try:
            await session.run()
        except Silent as error:
            self._mistaken += 1
            self._leave(greeted, str(error))
        except (OSError, WebSocketException) as error:
            self._leave(greeted, reason_of(error))
        else:
            goodbye = "it said goodbye" if session.goodbye else "we come anew"
            self._leave(greeted, goodbye)
        finally:
            self._session = None
            greeted.connection.transport.abort()
        return hinted_pause(session.goodbye, _chance()) if session.goodbye else 0.0

    def _leave(self, greeted: Greeted, reason: str) -> None:
        self._tell(connected=None, error=f"{greeted.target}: {reason}")

    def _tell(self, *, connected: str | None, error: str | None = None) -> None:
        before = self.state
        state = replace(before, connected=connected, epoch=self._epochs.value)
        if error:
            state = replace(state, error=error, error_at=utc_now())
            if (error, connected) != (before.error, before.connected):
                log.info("%s", error)
        if connected != self.state.connected:
            state = replace(state, since=utc_now())
        self.state = state

    def _wake(self) -> None:
        if self._session:
            self._session.new.set()


def _chance() -> float:
    return random.random()  # noqa: S311  spreads agents, no secret
