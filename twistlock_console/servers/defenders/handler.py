"""Handle the protocol with one Defender, from the websocket handshake to its end."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import cast

from pymongo.errors import PyMongoError
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from twistlock_console.common.errors import Refused
from twistlock_console.defenders.enrolment import check_due, renew
from twistlock_console.defenders.event_quota import EventQuota
from twistlock_console.defenders.event_store import encode_documents, store_compliance
from twistlock_console.pki.tls import Usage
from twistlock_console.protocol import (
    CertificateRenewed,
    ComplianceEvent,
    DefenderHello,
    Events,
    FactsChanged,
    Ping,
    Pong,
    ProtocolError,
    RenewalRequested,
    check_protocol,
    decode_from_defender,
    encode,
    encode_ack,
)
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.connections import ConnectionRegistry
from twistlock_console.servers.defenders.database import (
    DatabaseExecutor,
    GroupCommit,
    PendingWrite,
)

OPENING_TIMEOUT_S = 5.0
"""From the end of the TLS handshake to the hello."""
LARGE_MESSAGE_CHARS = 16 * 1024
"""Longer messages are decoded a few at a time, and one per Defender."""
PONG = encode(Pong())
log = logging.getLogger(__name__)


class ProtocolHandler:
    """Handles connections of Defenders, with one call of `handle` for each.

    Runs on the event loop. Results of compliance checks are stored by *checks*, another
    executor: thousands of hosts may run them at once, and other messages do not wait
    for that. Certificates are renewed with the authority in the folder *certificates*.
    """

    def __init__(
        self,
        registry: ConnectionRegistry,
        commit: GroupCommit,
        quota: EventQuota,
        checks: DatabaseExecutor,
        certificates: Path,
    ) -> None:
        self._registry = registry
        self._commit = commit
        self._quota = quota
        self._checks = checks
        self._certificates = certificates
        self._storing_tasks: set[asyncio.Task[None]] = set()

    async def handle(
        self, connection: DefenderConnection, establish: Callable[[], None]
    ) -> None:
        """Open the websocket, greet a Defender, then answer it until it leaves.

        *establish* is called when its hello was accepted. A peer that breaks the
        protocol gets the rule as the reason of the close frame.
        """
        try:
            hello = await self._open(connection)
            if hello is None:
                return
            self._registry.check(connection)
            establish()
            self._registry.add(connection, hello)
            connection.establish()
            try:
                while True:
                    await self._answer_next(connection)
            finally:
                connection.finished()
                self._registry.remove(connection)
        except ConnectionClosed:
            return
        except ProtocolError as error:
            await self._registry.refuse(connection, error)

    async def _open(self, connection: DefenderConnection) -> DefenderHello | None:
        """Return the hello of a Defender whose certificate is valid.

        Returns:
            None if the peer requested no websocket.

        Raises:
            ProtocolError: Before the greeting if the certificate is refused.

        """
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                await connection.handshake(admit)
                if connection.state is not State.OPEN:
                    return None
                self._registry.check(connection)
                await connection.send(self._registry.greeting)
                return await _receive_hello(connection)
        except TimeoutError:
            if connection.state is not State.OPEN:
                return None
            sentence = f"no hello came within {OPENING_TIMEOUT_S:.0f} s"
            raise ProtocolError(sentence, code=1008) from None

    async def _answer_next(self, connection: DefenderConnection) -> None:
        """Wait for a message and answer it; keep nothing of it in memory."""
        frame = await connection.recv()
        connection.begin()
        if len(frame) > LARGE_MESSAGE_CHARS:
            # Decoded it takes several times the memory; only events are as long.
            await connection.acquire_large_slot()
        await self._answer(connection, frame)
        connection.finished()

    async def _answer(self, connection: DefenderConnection, frame: str | bytes) -> None:
        match decode_from_defender(frame):
            case Events() as message:
                await self._enqueue_events(connection, message)
            case Ping():
                connection.count_control_message()
                await connection.send(PONG)
                await asyncio.sleep(0)
            case FactsChanged() as changed:
                connection.count_control_message()
                self._registry.describe(connection, changed)
                await asyncio.sleep(0)
            case RenewalRequested(request):
                connection.count_control_message()
                await self._renew(connection, request)
            case DefenderHello():
                raise ProtocolError("a second hello", code=1002)

    async def _renew(self, connection: DefenderConnection, request: str) -> None:
        self._registry.check(connection)
        if not connection.allow_renewal():
            return
        tls = connection.transport.get_extra_info("ssl_object")
        der, identity = tls.getpeercert(binary_form=True), connection.identity
        try:
            check_due(identity)
            certificate = await self._checks.run(
                renew, self._certificates, identity, der, request
            )
        except (Refused, PyMongoError) as error:
            # The Defender keeps its certificate, and asks again in an hour.
            name = connection.identity.common_name
            log.warning(
                "renewing the certificate of Defender %s failed: %s", name, error
            )
        else:
            self._registry.check(connection)
            await connection.send(encode(CertificateRenewed(certificate)))

    async def _enqueue_events(
        self, connection: DefenderConnection, message: Events
    ) -> None:
        """Queue *message* to be stored, and acknowledged when a majority has it.

        Do not wait for that: the next message does.
        """
        await connection.settled()
        if not await connection.reads():
            await asyncio.sleep(0)
            return
        self._registry.check(connection)
        ack = encode_ack(message.events[-1].number)
        stored = partial(connection.acknowledge, ack)
        if runs := [e for e in message.events if isinstance(e, ComplianceEvent)]:
            stored = partial(self._start_storing_runs, connection, runs, ack)
        pending = self._pending(connection.identity.common_name, message)
        pending.acknowledge = stored
        connection.stores(self._commit.enqueue(pending))

    def _pending(self, name: str, message: Events) -> PendingWrite:
        """Return the documents of *message* to store, as far as the quota allows."""
        documents = encode_documents(name, message.events)
        sizes = [len(each.raw) for each in documents]
        fitting, dropped = self._quota.split(name, message.events, sizes)
        return PendingWrite(documents[:fitting], defender=name, dropped=dropped)

    def _start_storing_runs(
        self, connection: DefenderConnection, runs: list[ComplianceEvent], ack: str
    ) -> None:
        """Start to store results of compliance checks; others do not wait for it."""
        noting = self._store_runs(connection, runs, ack)
        task = asyncio.get_running_loop().create_task(noting)
        self._storing_tasks.add(task)
        task.add_done_callback(self._storing_tasks.discard)

    async def _store_runs(
        self, connection: DefenderConnection, runs: list[ComplianceEvent], ack: str
    ) -> None:
        """Store results of compliance checks, then acknowledge the message."""
        name = connection.identity.common_name
        try:
            await self._checks.run(store_compliance, name, runs)
        except PyMongoError as error:
            log.warning("storing the checks of Defender %s failed: %s", name, error)
        else:
            connection.acknowledge(ack)
        finally:
            if connection.storing:
                # The Defender reconnects and sends the same results again.
                connection.transport.abort()


async def _receive_hello(connection: DefenderConnection) -> DefenderHello:
    frame = await connection.recv()
    connection.begin()
    hello = decode_from_defender(frame)
    if not isinstance(hello, DefenderHello):
        raise ProtocolError("the first message must be a hello", code=1002)
    check_protocol(hello)
    if hello.defender != connection.identity.common_name:
        raise ProtocolError("the hello's name is not the certificate's", code=1008)
    connection.finished()
    return hello


def admit(connection: ServerConnection, _request: Request) -> Response | None:
    """Accept Defenders; refuse other owners of a certificate with 403."""
    if cast(DefenderConnection, connection).identity.usage is Usage.DEFENDER:
        return None
    return connection.respond(
        HTTPStatus.FORBIDDEN, "Only Defenders may connect here.\n"
    )
