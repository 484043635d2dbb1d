"""One connection to a Console that has greeted us, until it ends.

Findings are sent in order from the first that is not acknowledged, some batches
ahead of the acknowledgements.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection

from twistlock_console.protocol import (
    MOST_EVENTS,
    Acknowledged,
    ConsoleHello,
    DefenderHello,
    Facts,
    FactsChanged,
    Goodbye,
    Ping,
    PolicyPushed,
    Pong,
    ProtocolError,
    Scan,
    decode_from_console,
    encode,
)
from twistlock_defender.clock import boottime
from twistlock_defender.errors import Silent
from twistlock_defender.findings import events_message
from twistlock_defender.outbox_file import Entry

FACTS_SECONDS = 3600.0
PING_SECONDS = 30.0
LINGER_SECONDS = 0.02
BATCH_BYTES = 256 * 1024
UNACKNOWLEDGED_AT_MOST = 4 * MOST_EVENTS
GOODBYE_SECONDS = 5.0
log = logging.getLogger(__name__)


class Orders(Protocol):
    """What obeys the Console; its calls may block, and are made off the loop."""

    def hello(self) -> DefenderHello:
        """Our first message."""

    def obey(self, order: PolicyPushed | Scan) -> None:
        """Do as told."""

    def malformed(self, sentence: str) -> None:
        """A message could not be read, and was left aside."""


class Findings(Protocol):
    """Where findings wait."""

    def batch(self, after: int, count: int, size: int) -> Sequence[Entry]:
        """The next behind number *after*."""

    def delete(self, through: int) -> None:
        """Forget those up to *through*."""


class Session:
    """Talks over *connection*; *patience* is in seconds. `new` says: more to send."""

    def __init__(
        self,
        connection: ClientConnection,
        orders: Orders,
        findings: Findings,
        patience: float,
    ) -> None:
        self._connection = connection
        self._orders = orders
        self._findings = findings
        self._patience = patience
        self._sent = 0
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._room = asyncio.Event()
        self._heard = boottime()
        self._asked: float | None = None
        self._pinged = False
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
            self._watch(),
        )

    async def _receive(self) -> None:
        while True:
            frame = await self._connection.recv()
            self._heard, self._asked, self._pinged = boottime(), None, False
            try:
                message = decode_from_console(frame)
            except ProtocolError as error:
                self._orders.malformed(f"the Console's message is left aside: {error}")
                continue
            match message:
                case Acknowledged(through):
                    await self._acknowledge(through)
                case PolicyPushed() | Scan():
                    await asyncio.to_thread(self._orders.obey, message)
                case Goodbye():
                    self.goodbye = message
                case ConsoleHello() | Pong():
                    pass

    async def _acknowledge(self, through: int) -> None:
        # Whatever the Console says: what it was never sent it cannot have.
        through = min(through, self._sent)
        while self._unacknowledged and self._unacknowledged[0][0] <= through:
            self._unacknowledged.popleft()
        if self._unacknowledged:
            self._asked = self._asked or boottime()
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
            self._asked = self._asked or boottime()
            await self._connection.send(events_message(batch))
            while sum(n for _, n in self._unacknowledged) > UNACKNOWLEDGED_AT_MOST:
                self._room.clear()
                await self._room.wait()

    async def _tell_facts(self, told: Facts) -> None:
        while True:
            await asyncio.sleep(FACTS_SECONDS)
            facts = (await asyncio.to_thread(self._orders.hello)).facts
            if facts != told:
                await self._connection.send(encode(FactsChanged(facts)))
                told = facts

    async def _watch(self) -> None:
        """Ask when it has been quiet for long; raise Silent when no answer comes."""
        while self.goodbye is None:
            now = boottime()
            waited = now - (self._asked or now)
            if waited >= self._patience:
                raise Silent(f"the Console has been silent for {self._patience:g} s")
            quiet = now - self._heard >= PING_SECONDS
            if not self._pinged and (quiet or waited >= self._patience / 2):
                await self._ping(now)
            await asyncio.sleep(min(1.0, self._patience / 8))
        await asyncio.sleep(GOODBYE_SECONDS)

    async def _ping(self, now: float) -> None:
        """Ask for a sign of life: a slow database does not keep a Console from it."""
        self._pinged = True
        self._asked = self._asked or now
        # What is sent may have to wait for a peer that reads no more; we may not.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience / 8):
                await self._connection.send(encode(Ping()))


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
