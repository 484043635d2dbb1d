"""One connection to a Console that has greeted us, until it ends.

Findings are sent in order from the first that is not acknowledged, some batches
ahead of the acknowledgements.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection

from twistlock_console.protocol import (
    MOST_EVENTS,
    Acknowledged,
    CertificateRenewed,
    ConsoleHello,
    DefenderHello,
    Facts,
    FactsChanged,
    FromConsole,
    Goodbye,
    PolicyPushed,
    Pong,
    ProtocolError,
    RenewalRequested,
    Scan,
    decode_from_console,
    encode,
)
from twistlock_defender.common.findings import Entry, events_message
from twistlock_defender.link.keepalive import Liveness

FACTS_SECONDS = 3600.0
RENEWAL_SECONDS = 3600.0
LINGER_SECONDS = 0.02
BATCH_BYTES = 256 * 1024
#: More would lie unread at the Console while it stores, and our pings behind them.
MESSAGES_AHEAD = 3
GOODBYE_SECONDS = 5.0
log = logging.getLogger(__name__)


class Orders(Protocol):
    """What obeys the Console; its calls may block, and are made off the loop."""

    def hello(self) -> DefenderHello:
        """Our first message."""

    def obey(self, order: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Do as told."""

    def renewal(self) -> RenewalRequested | None:
        """Ask for another certificate, when ours ends soon."""

    def malformed(self, sentence: str) -> None:
        """A message could not be read, and was left aside."""


class Findings(Protocol):
    """Where findings wait."""

    def batch(self, after: int, count: int, size: int) -> Sequence[Entry]:
        """The next behind number *after*."""

    def delete(self, through: int) -> None:
        """Forget those up to *through*."""


class Session:
    """Talks over *connection*; *patience* is in seconds. `new` says: more to send.

    *renews* is whether the Console said that it renews certificates.
    """

    def __init__(
        self,
        connection: ClientConnection,
        orders: Orders,
        findings: Findings,
        patience: float,
        *,
        renews: bool = False,
    ) -> None:
        self._connection = connection
        self._orders = orders
        self._findings = findings
        self._liveness = Liveness(connection, patience)
        self._renews = renews
        self._sent = 0
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._room = asyncio.Event()
        self._leaving = asyncio.Event()
        self.new = asyncio.Event()
        self.goodbye: Goodbye | None = None

    async def run(self) -> None:
        """Talk until the connection ends.

        Raises Silent, or ConnectionClosed with the Console's words.
        """
        hello = await asyncio.to_thread(self._orders.hello)
        await self._connection.send(encode(hello))
        await first_of(
            self._receive(),
            self._send_findings(),
            self._tell_facts(hello.facts),
            self._renew(),
            self._liveness.watch(),
            self._leave(),
        )

    async def _receive(self) -> None:
        while True:
            frame = await self._connection.recv()
            self._liveness.heard()
            try:
                message = decode_from_console(frame)
            except ProtocolError as error:
                sentence = f"the Console's message is left aside: {error}"
                await asyncio.to_thread(self._orders.malformed, sentence)
                continue
            await self._hear(message)
            if isinstance(message, CertificateRenewed):
                # The Console shows the new one once we come with it.
                return

    async def _hear(self, message: FromConsole) -> None:
        match message:
            case Acknowledged(through):
                await self._acknowledge(through)
            case PolicyPushed() | Scan() | CertificateRenewed():
                await asyncio.to_thread(self._orders.obey, message)
            case Goodbye():
                self.goodbye = message
                self._leaving.set()
            case ConsoleHello() | Pong():
                pass

    async def _acknowledge(self, through: int) -> None:
        # Whatever the Console says: what it was never sent it cannot have.
        through = min(through, self._sent)
        while self._unacknowledged and self._unacknowledged[0][0] <= through:
            self._unacknowledged.popleft()
        if not self._unacknowledged:
            self._liveness.rests()
        self._room.set()
        await asyncio.to_thread(self._findings.delete, through)

    async def _send_findings(self) -> None:
        while True:
            self.new.clear()
            batch = await asyncio.to_thread(
                self._findings.batch, self._sent, MOST_EVENTS, BATCH_BYTES
            )
            if not batch:
                await self.new.wait()
                await asyncio.sleep(LINGER_SECONDS)
                continue
            self._sent = batch[-1].number
            self._unacknowledged.append((self._sent, len(batch)))
            self._liveness.waits()
            await self._connection.send(events_message(batch))
            while len(self._unacknowledged) >= MESSAGES_AHEAD:
                self._room.clear()
                await self._room.wait()

    async def _tell_facts(self, told: Facts) -> None:
        while True:
            await asyncio.sleep(FACTS_SECONDS)
            facts = (await asyncio.to_thread(self._orders.hello)).facts
            if facts != told:
                await self._connection.send(encode(FactsChanged(facts)))
                told = facts

    async def _renew(self) -> None:
        # Not all at the same time: whole fleets are deployed in one day.
        await asyncio.sleep(random.random() * RENEWAL_SECONDS)  # noqa: S311
        while True:
            if self._renews and (
                asked := await asyncio.to_thread(self._orders.renewal)
            ):
                await self._connection.send(encode(asked))
            await asyncio.sleep(RENEWAL_SECONDS)

    async def _leave(self) -> None:
        """End some time after a goodbye, should the Console not end it itself."""
        await self._leaving.wait()
        await asyncio.sleep(GOODBYE_SECONDS)


async def first_of(*acts: Coroutine[Any, Any, None]) -> None:
    """Do all of *acts* until one ends; the others are cancelled. Raises its error."""
    tasks = [asyncio.create_task(act) for act in acts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
