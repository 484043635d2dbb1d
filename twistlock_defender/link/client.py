"""Keeps one websocket to the Console that serves, and talks over it until it ends.

A `Link` connects again and again, and gives each connection to a `Session`. Findings
are sent in order from the first that is not acknowledged, some messages ahead of the
acknowledgements.
"""

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

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
    encode_events,
)
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.errors import ConsoleTimeout, DefenderError
from twistlock_defender.link.backoff import (
    Target,
    failures,
    hinted_pause,
    patience,
    pause,
)
from twistlock_defender.link.connection import (
    Greeted,
    HighestEpoch,
    Keepalive,
    connect_to,
    reason_of,
)
from twistlock_defender.link.dialer import Dialer, Resolver
from twistlock_defender.link.outbox import Outbox

FACTS_SECONDS = 3600.0
RENEWAL_SECONDS = 3600.0
LINGER_SECONDS = 0.02
BATCH_BYTES = 256 * 1024
#: More would lie unread at the Console while it stores, and our pings behind them.
MESSAGES_AHEAD = 3
GOODBYE_SECONDS = 5.0
GOODBYE = "it said goodbye"
RENEWED = "reconnecting with the renewed certificate"
log = logging.getLogger(__name__)


class CommandHandler(Protocol):
    """Carries out what the Console says; its calls may block."""

    def hello(self) -> DefenderHello:
        """Return our first message."""

    def handle_command(self, command: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Carry out *command*."""

    def renewal(self) -> RenewalRequested | None:
        """Ask for another certificate, when ours ends soon."""

    def malformed(self, sentence: str) -> None:
        """Report a message that could not be read, and was ignored."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """Where the link stands; *since* when, and the last *error*, now or before."""

    connected: str | None
    since: datetime
    epoch: int
    error: str | None = None
    error_at: datetime | None = None


class Link:
    """Connects *handler* and *outbox* to a Console at one of *addresses*.

    It never obeys a Console of an earlier epoch than it has seen. `state` tells where
    it stands.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        tls: Callable[[], ssl.SSLContext],
        epochs: HighestEpoch,
        handler: CommandHandler,
        outbox: Outbox,
    ) -> None:
        self._resolver = Resolver(addresses)
        self._tls = tls
        self._epochs = epochs
        self._handler = handler
        self._outbox = outbox
        self._session: Session | None = None
        self._obeyed = self._mistaken = 0
        self.state = LinkState(None, utc_now(), epochs.value)

    @property
    def name_problem(self) -> str | None:
        """Return which of the Console's names cannot be resolved, if one."""
        return self._resolver.problem

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
                rest = await self._serve(greeted)
                failed = failures(failed, boottime() - began, later_epoch=later)
                await asyncio.sleep(rest or pause(failed, _chance()))
        finally:
            self._outbox.on_new = lambda: None
            self._resolver.close()

    async def _attempt(self, target: Target) -> Greeted | None:
        try:
            return await connect_to(target, self._tls(), self._epochs)
        except (OSError, WebSocketException, ProtocolError, DefenderError) as error:
            self._set_state(connected=None, error=f"{target}: {reason_of(error)}")
            return None

    async def _serve(self, greeted: Greeted) -> float:
        """Talk to the Console; return the seconds it asked us to stay away, or 0."""
        if greeted.epoch > self._obeyed:
            self._obeyed, self._mistaken = greeted.epoch, 0
        seconds = patience(self._mistaken)
        session = Session(greeted, self._handler, self._outbox, seconds)
        self._session = session
        log.info("connected to %s, epoch %d", greeted.target, greeted.epoch)
        self._set_state(connected=str(greeted.target))
        try:
            await session.run()
        except ConsoleTimeout as error:
            self._mistaken += 1
            self._leave(greeted, str(error))
        except (OSError, WebSocketException) as error:
            self._leave(greeted, reason_of(error))
        else:
            self._leave(greeted, GOODBYE if session.goodbye else RENEWED)
        finally:
            self._session = None
            greeted.connection.transport.abort()
        return hinted_pause(session.goodbye, _chance()) if session.goodbye else 0.0

    def _leave(self, greeted: Greeted, reason: str) -> None:
        self._set_state(connected=None, error=f"{greeted.target}: {reason}")

    def _set_state(self, *, connected: str | None, error: str | None = None) -> None:
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


class Session:
    """Talks to the Console that *greeted* us, until the connection ends.

    *seconds* is how long the Console may be silent. `new` is set when there is more to
    send.
    """

    def __init__(
        self, greeted: Greeted, handler: CommandHandler, outbox: Outbox, seconds: float
    ) -> None:
        self._connection: ClientConnection = greeted.connection
        self._renews = greeted.renews
        self._handler = handler
        self._outbox = outbox
        self._keepalive = Keepalive(greeted.connection, seconds)
        self._sent = 0
        self._unacknowledged: deque[int] = deque()
        self._acknowledged = asyncio.Event()
        self._leaving = asyncio.Event()
        self.new = asyncio.Event()
        self.goodbye: Goodbye | None = None

    async def run(self) -> None:
        """Talk until the connection ends.

        Raises ConsoleTimeout, or ConnectionClosed with the Console's words.
        """
        hello = await asyncio.to_thread(self._handler.hello)
        await self._connection.send(encode(hello))
        await first_of(
            self._receive(),
            self._send_findings(),
            self._send_facts(hello.facts),
            self._renew(),
            self._keepalive.watch(),
            self._leave(),
        )

    async def _send_findings(self) -> None:
        while True:
            self.new.clear()
            batch = await asyncio.to_thread(
                self._outbox.batch, self._sent, MOST_EVENTS, BATCH_BYTES
            )
            if not batch:
                await self.new.wait()
                await asyncio.sleep(LINGER_SECONDS)
                continue
            self._sent = batch[-1].number
            self._unacknowledged.append(self._sent)
            self._keepalive.expect_reply()
            text = encode_events((entry.number, entry.body) for entry in batch)
            await self._connection.send(text)
            while len(self._unacknowledged) >= MESSAGES_AHEAD:
                self._acknowledged.clear()
                await self._acknowledged.wait()

    async def _receive(self) -> None:
        while True:
            frame = await self._connection.recv()
            self._keepalive.heard()
            try:
                message = decode_from_console(frame)
            except ProtocolError as error:
                sentence = f"the Console's message is left aside: {error}"
                await asyncio.to_thread(self._handler.malformed, sentence)
                continue
            await self._handle(message)
            if isinstance(message, CertificateRenewed):
                # The Console shows the new one once we come with it.
                return

    async def _handle(self, message: FromConsole) -> None:
        match message:
            case Acknowledged(through):
                await self._acknowledge(through)
            case PolicyPushed() | Scan() | CertificateRenewed():
                await asyncio.to_thread(self._handler.handle_command, message)
            case Goodbye():
                self.goodbye = message
                self._leaving.set()
            case ConsoleHello() | Pong():
                pass

    async def _acknowledge(self, through: int) -> None:
        # Whatever the Console says: what it was never sent it cannot have.
        through = min(through, self._sent)
        while self._unacknowledged and self._unacknowledged[0] <= through:
            self._unacknowledged.popleft()
        if not self._unacknowledged:
            self._keepalive.expect_nothing()
        self._acknowledged.set()
        await asyncio.to_thread(self._outbox.delete, through)

    async def _send_facts(self, sent: Facts) -> None:
        while True:
            await asyncio.sleep(FACTS_SECONDS)
            facts = (await asyncio.to_thread(self._handler.hello)).facts
            if facts != sent:
                await self._connection.send(encode(FactsChanged(facts)))
                sent = facts

    async def _renew(self) -> None:
        # Not all at the same time: whole fleets are deployed in one day.
        await asyncio.sleep(random.random() * RENEWAL_SECONDS)  # noqa: S311
        while True:
            if self._renews and (
                request := await asyncio.to_thread(self._handler.renewal)
            ):
                await self._connection.send(encode(request))
            await asyncio.sleep(RENEWAL_SECONDS)

    async def _leave(self) -> None:
        """End some time after a goodbye, should the Console not end it itself."""
        await self._leaving.wait()
        await asyncio.sleep(GOODBYE_SECONDS)


async def first_of(*acts: Coroutine[object, object, None]) -> None:
    """Run all of *acts* until one ends; cancel the others. Raises its error."""
    tasks = [asyncio.create_task(act) for act in acts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _chance() -> float:
    return random.random()  # noqa: S311  spreads agents, no secret
