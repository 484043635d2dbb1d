"""Maintains the websocket connection to the Console that serves.

A `Link` reconnects with backoff and gives each connection to a `LinkSession`. A session
sends findings in order, from the first that is not acknowledged, and at most
MAX_UNACKNOWLEDGED messages ahead of the acknowledgements.
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
    MAX_EVENTS,
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
    backoff_s,
    count_failures,
    goodbye_pause_s,
    silence_timeout_s,
)
from twistlock_defender.link.connection import (
    Handshake,
    HighestEpoch,
    Keepalive,
    connect_to,
    describe_failure,
)
from twistlock_defender.link.dialer import Dialer, Resolver
from twistlock_defender.link.outbox import Outbox

FACTS_INTERVAL_S = 3600.0
RENEWAL_INTERVAL_S = 3600.0
BATCH_DELAY_S = 0.02
BATCH_BYTES = 256 * 1024
#: Backpressure: more messages would queue unread at the Console, with pings behind
#: them.
MAX_UNACKNOWLEDGED = 3
GOODBYE_TIMEOUT_S = 5.0
GOODBYE_REASON = "it said goodbye"
RENEWED_REASON = "reconnecting with the renewed certificate"
log = logging.getLogger(__name__)


class CommandHandler(Protocol):
    """Handles the commands of the Console, on worker threads; calls may block."""

    def create_hello(self) -> DefenderHello:
        """Return the first message of a connection."""

    def handle_command(self, command: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Handle *command*."""

    def create_renewal_request(self) -> RenewalRequested | None:
        """Return the request for another certificate; None if ours is not due."""

    def report_malformed(self, sentence: str) -> None:
        """Report a message that could not be parsed and was ignored."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """The state of the link *since* a time, with the last *error* until now."""

    connected: str | None
    since: datetime
    epoch: int
    error: str | None = None
    error_at: datetime | None = None


class Link:
    """Supervises the connection of *handler* and *outbox* to the serving Console.

    It reconnects to one of *addresses* until it is cancelled, on the event loop. It
    rejects a Console with a lower epoch than it has seen (fencing). `state` may be read
    by any thread.
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
        self._session: LinkSession | None = None
        self._latest_epoch = self._false_timeouts = 0
        self.state = LinkState(None, utc_now(), epochs.value)

    @property
    def name_problem(self) -> str | None:
        """Return which names of the Console cannot be resolved; None if all can."""
        return self._resolver.problem

    async def run(self) -> None:
        """Maintain a connection until cancelled."""
        loop = asyncio.get_running_loop()

        def on_new() -> None:
            loop.call_soon_threadsafe(self._wake)

        self._outbox.on_new = on_new
        dialer = Dialer(
            self._resolver,
            self._attempt,
            lambda handshake: self._epochs.accept(handshake.epoch),
            lambda late: late.connection.transport.abort(),
        )
        failed = 0
        try:
            while True:
                handshake = await dialer.dial(failed)
                began, later = boottime(), handshake.epoch > self._latest_epoch
                rest = await self._serve(handshake)
                failed = count_failures(failed, boottime() - began, later_epoch=later)
                await asyncio.sleep(rest or backoff_s(failed, _random_fraction()))
        finally:
            self._outbox.on_new = lambda: None
            self._resolver.close()

    async def _attempt(self, target: Target) -> Handshake | None:
        try:
            return await connect_to(target, self._tls(), self._epochs)
        except (OSError, WebSocketException, ProtocolError, DefenderError) as error:
            self._set_state(
                connected=None, error=f"{target}: {describe_failure(error)}"
            )
            return None

    async def _serve(self, handshake: Handshake) -> float:
        """Run a session; return the seconds of the Console's goodbye, or 0."""
        if handshake.epoch > self._latest_epoch:
            self._latest_epoch, self._false_timeouts = handshake.epoch, 0
        seconds = silence_timeout_s(self._false_timeouts)
        session = LinkSession(handshake, self._handler, self._outbox, seconds)
        self._session = session
        log.info("connected to %s, epoch %d", handshake.target, handshake.epoch)
        self._set_state(connected=str(handshake.target))
        try:
            await session.run()
        except ConsoleTimeout as error:
            self._false_timeouts += 1
            self._leave(handshake, str(error))
        except (OSError, WebSocketException) as error:
            self._leave(handshake, describe_failure(error))
        else:
            self._leave(
                handshake, GOODBYE_REASON if session.goodbye else RENEWED_REASON
            )
        finally:
            self._session = None
            handshake.connection.transport.abort()
        return (
            goodbye_pause_s(session.goodbye, _random_fraction())
            if session.goodbye
            else 0.0
        )

    def _leave(self, handshake: Handshake, reason: str) -> None:
        self._set_state(connected=None, error=f"{handshake.target}: {reason}")

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


class LinkSession:
    """Exchanges messages with a Console after the handshake, until the connection ends.

    *seconds* is the timeout of silence. Set `new` when the outbox has more to send.
    """

    def __init__(
        self,
        handshake: Handshake,
        handler: CommandHandler,
        outbox: Outbox,
        seconds: float,
    ) -> None:
        self._connection: ClientConnection = handshake.connection
        self._renews = handshake.renews
        self._handler = handler
        self._outbox = outbox
        self._keepalive = Keepalive(handshake.connection, seconds)
        self._sent = 0
        self._unacknowledged: deque[int] = deque()
        self._acknowledged = asyncio.Event()
        self._goodbye_received = asyncio.Event()
        self.new = asyncio.Event()
        self.goodbye: Goodbye | None = None

    async def run(self) -> None:
        """Exchange messages until the connection ends.

        Raises:
            ConsoleTimeout: the Console was silent for too long.
            ConnectionClosed: the Console closed the connection, with its reason.

        """
        hello = await asyncio.to_thread(self._handler.create_hello)
        await self._connection.send(encode(hello))
        await run_until_first(
            self._receive(),
            self._send_findings(),
            self._send_facts(hello.facts),
            self._renew(),
            self._keepalive.run(),
            self._leave(),
        )

    async def _send_findings(self) -> None:
        while True:
            self.new.clear()
            batch = await asyncio.to_thread(
                self._outbox.batch, self._sent, MAX_EVENTS, BATCH_BYTES
            )
            if not batch:
                await self.new.wait()
                await asyncio.sleep(BATCH_DELAY_S)
                continue
            self._sent = batch[-1].number
            self._unacknowledged.append(self._sent)
            self._keepalive.expect_reply()
            text = encode_events((entry.number, entry.body) for entry in batch)
            await self._connection.send(text)
            while len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
                self._acknowledged.clear()
                await self._acknowledged.wait()

    async def _receive(self) -> None:
        while True:
            frame = await self._connection.recv()
            self._keepalive.record_message()
            try:
                message = decode_from_console(frame)
            except ProtocolError as error:
                sentence = f"a message of the Console was ignored: {error}"
                await asyncio.to_thread(self._handler.report_malformed, sentence)
                continue
            await self._handle(message)
            if isinstance(message, CertificateRenewed):
                # Reconnect, so that the new certificate is used.
                return

    async def _handle(self, message: FromConsole) -> None:
        match message:
            case Acknowledged(through):
                await self._acknowledge(through)
            case PolicyPushed() | Scan() | CertificateRenewed():
                await asyncio.to_thread(self._handler.handle_command, message)
            case Goodbye():
                self.goodbye = message
                self._goodbye_received.set()
            case ConsoleHello() | Pong():
                pass

    async def _acknowledge(self, through: int) -> None:
        # Never accept an acknowledgement of events that were not sent.
        through = min(through, self._sent)
        while self._unacknowledged and self._unacknowledged[0] <= through:
            self._unacknowledged.popleft()
        if not self._unacknowledged:
            self._keepalive.expect_nothing()
        self._acknowledged.set()
        await asyncio.to_thread(self._outbox.delete, through)

    async def _send_facts(self, sent: Facts) -> None:
        while True:
            await asyncio.sleep(FACTS_INTERVAL_S)
            facts = (await asyncio.to_thread(self._handler.create_hello)).facts
            if facts != sent:
                await self._connection.send(encode(FactsChanged(facts)))
                sent = facts

    async def _renew(self) -> None:
        # Jitter: whole fleets are deployed on the same day.
        await asyncio.sleep(random.random() * RENEWAL_INTERVAL_S)  # noqa: S311
        while True:
            if self._renews and (
                request := await asyncio.to_thread(self._handler.create_renewal_request)
            ):
                await self._connection.send(encode(request))
            await asyncio.sleep(RENEWAL_INTERVAL_S)

    async def _leave(self) -> None:
        """Return GOODBYE_TIMEOUT_S after a goodbye, if the Console did not close."""
        await self._goodbye_received.wait()
        await asyncio.sleep(GOODBYE_TIMEOUT_S)


async def run_until_first(*acts: Coroutine[object, object, None]) -> None:
    """Run all *acts* until one ends; cancel the others. Raises its error."""
    tasks = [asyncio.create_task(act) for act in acts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _random_fraction() -> float:
    return random.random()  # noqa: S311  jitter, no secret
