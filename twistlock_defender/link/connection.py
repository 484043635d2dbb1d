"""Open one connection to a Console: handshake, fencing by epoch, and keepalive."""

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from twistlock_console.protocol import (
    HELLO_TIMEOUT_S,
    MAX_MESSAGE_CHARACTERS,
    ConsoleHello,
    check_protocol,
    decode_from_console,
)
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.errors import ConsoleRejected, ConsoleTimeout
from twistlock_defender.link.backoff import Target

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
PING_AFTER_SILENCE_S = 30.0
# The kernel detects within 20 s that the other host is unreachable.
TCP_KEEPALIVE_OPTIONS = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 3),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_NODELAY, 1),
)
FAILURE_SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (
        InvalidMessage,
        "it closed the connection before its first message; our certificate may have "
        "expired or been revoked, or a proxy in between terminates TLS",
    ),
    (TimeoutError, "it does not answer"),
    (ConnectionClosed, "the connection broke"),
)
MAX_EPOCH = 2**63
log = logging.getLogger(__name__)


class HighestEpoch:
    """Stores the highest epoch that was seen in *path* (fencing); at first 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            stored = path.read_text().strip()
        except (FileNotFoundError, ValueError):
            stored = ""
        value = int(stored) if re.fullmatch("[0-9]{1,19}", stored) else 0
        # No Console has a higher one: with it this Defender would obey none.
        self.value = value if value < MAX_EPOCH else 0

    def accept(self, epoch: int) -> bool:
        """Return whether a Console with *epoch* may be obeyed; store a higher epoch.

        A lower epoch belongs to a Console that lost its role and may not know it yet.
        """
        if epoch < self.value:
            return False
        if epoch > self.value:
            self.value = epoch
            try:
                self._store(epoch)
            except OSError as error:
                log.error("epoch %d is lost by a restart: %s", epoch, error)  # noqa: TRY400
        return True

    def _store(self, epoch: int) -> None:
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            file.write(f"{epoch}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


@dataclass(frozen=True, slots=True)
class Handshake:
    """The result of a handshake with a Console at *target* under an accepted *epoch*.

    *renews* is whether the Console renews certificates.
    """

    connection: ClientConnection
    target: Target
    epoch: int
    renews: bool


async def connect_to(
    target: Target, tls: ssl.SSLContext, epochs: HighestEpoch
) -> Handshake:
    """Connect to *target* and complete the handshake.

    Raises:
        ConsoleRejected: the epoch is lower than one that was seen.
        ProtocolError: the first message is invalid.
        OSError: there is no connection.
        WebSocketException: the websocket could not be opened.

    """
    reached = await _connect_socket(target)
    connection = await connect(
        f"wss://{_bracket_ipv6(target.name)}:{target.port}",
        sock=reached,
        server_hostname=target.name,
        ssl=tls,
        open_timeout=HELLO_TIMEOUT_S,
        ping_interval=None,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=MAX_MESSAGE_CHARACTERS * 4,
        compression=None,
    )
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            frame = await connection.recv()
        hello = _check_hello(frame, epochs)
    except BaseException:
        connection.transport.abort()
        raise
    return Handshake(connection, target, hello.epoch, hello.renews)


async def _connect_socket(target: Target) -> socket.socket:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    reached = socket.socket(family, socket.SOCK_STREAM)
    try:
        reached.setblocking(False)
        reached.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in TCP_KEEPALIVE_OPTIONS:
            reached.setsockopt(socket.IPPROTO_TCP, option, value)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(
                reached, (target.address, target.port)
            )
    except BaseException:
        reached.close()
        raise
    return reached


def _bracket_ipv6(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _check_hello(frame: str | bytes, epochs: HighestEpoch) -> ConsoleHello:
    """Parse the hello in *frame*; raise ConsoleRejected if its epoch is outdated."""
    hello = decode_from_console(frame)
    if not isinstance(hello, ConsoleHello):
        raise ConsoleRejected("its first message is not a hello")
    check_protocol(hello)
    if not epochs.accept(hello.epoch):
        raise ConsoleRejected(
            f"it serves under epoch {hello.epoch}, which is outdated; "
            f"epoch {epochs.value} was seen"
        )
    return hello


class Keepalive:
    """Checks that the Console at the other end of *connection* still runs.

    It sends a websocket ping, which a Console answers even if its database is slow.
    *timeout_s* is the maximum time of silence.
    """

    def __init__(self, connection: ClientConnection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._last_message_at = boottime()
        self._unacknowledged_since: float | None = None
        self._pinged_at: float | None = None
        self._ping: asyncio.Task[None] | None = None

    def record_message(self) -> None:
        """Record that a message arrived."""
        self._last_message_at = boottime()

    def expect_reply(self) -> None:
        """Record that a message was sent that must be acknowledged.

        Other messages do not change this: the Console may fail while the Defender waits
        for its slow database.
        """
        self._unacknowledged_since = self._unacknowledged_since or boottime()

    def expect_nothing(self) -> None:
        """Record that everything is acknowledged."""
        self._unacknowledged_since = None

    async def run(self) -> None:
        """Send a ping after a long silence; raise ConsoleTimeout without an answer."""
        try:
            while True:
                self._check(boottime())
                await asyncio.sleep(min(1.0, self._timeout_s / 12))
        finally:
            if self._ping:
                self._ping.cancel()
                await asyncio.gather(self._ping, return_exceptions=True)

    def _check(self, now: float) -> None:
        waited = self._silence_s(now)
        if waited >= self._timeout_s:
            raise ConsoleTimeout(
                f"the Console has been silent for {self._timeout_s:g} s"
            )
        quiet = now - self._last_message_at >= PING_AFTER_SILENCE_S
        if (quiet or waited >= self._timeout_s / 2) and self._ping is None:
            self._pinged_at = now
            # A task of its own: sending blocks if the peer no longer reads.
            self._ping = asyncio.create_task(self._send_ping())

    def _silence_s(self, now: float) -> float:
        """Return the seconds without a message since an answer is expected."""
        since = min(self._unacknowledged_since or now, self._pinged_at or now)
        return now - max(since, self._last_message_at)

    async def _send_ping(self) -> None:
        await (await self._connection.ping())
        self._ping = self._pinged_at = None
        self.record_message()


def describe_failure(error: BaseException) -> str:
    """Return a sentence why a connection ended or was not established."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _tls_reason(cause)
    if isinstance(error, ConnectionClosed) and error.rcvd:
        return f"it closed the connection: {error.rcvd.reason or error.rcvd.code}"
    for kind, sentence in FAILURE_SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, HTTPException):
        return "its response is not valid HTTP"
    return getattr(error, "strerror", None) or str(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return f"TLS failed: {reason.replace('sslv3 alert', 'it answers')}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
