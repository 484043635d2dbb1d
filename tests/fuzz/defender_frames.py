"""The Defender port behind TLS: websocket handshake, frames, messages, their answers.

The whole handler runs on a transport that is none; the database never answers.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from bson.raw_bson import RawBSONDocument
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pymongo.errors import AutoReconnect
from websockets.server import ServerProtocol

from tests.fleet.defender_client import masked
from tests.fuzz.defender_messages import FROM_DEFENDER
from tests.fuzz.parsers import Parser, scratch_folder
from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.defenders.event_quota import DroppedEvents, EventQuota
from twistlock_console.defenders.register import ServiceClock, ServingProcess
from twistlock_console.pki.authority import create_authority, sign_request
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.protocol import (
    DefenderHello,
    RenewalRequested,
    encode,
)
from twistlock_console.servers.defenders.backpressure import ReadLimiter
from twistlock_console.servers.defenders.certificate_check import (
    ConnectionsPerCertificate,
)
from twistlock_console.servers.defenders.connection import (
    DefenderConnection,
    Guards,
    connections_of,
)
from twistlock_console.servers.defenders.connections import ConnectionRegistry
from twistlock_console.servers.defenders.database import (
    DatabaseExecutor,
    GroupCommit,
    RegisterWriter,
)
from twistlock_console.servers.defenders.handler import ProtocolHandler
from twistlock_console.servers.defenders.port import MAX_FRAME_BYTES
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.system.serving_permit import FOREVER, Permit

NAME = "web-1"
PATIENCE_S = 10.0
#: Turns of the loop in which the handler answers what it was sent.
TURNS = 12
OPENING = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
HELLO = masked(encode(DefenderHello(NAME, "26.11.0")).encode())
RAW, OPENED, GREETED, MESSAGES = range(4)


class Wire:
    """A transport that takes everything and keeps nothing."""

    def __init__(self, der: bytes) -> None:
        self._der = der
        self.closing = False
        self.lost = lambda: None

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_options: None

    def get_extra_info(self, name: str) -> Any:
        """Be the TLS object, too; there is no address."""
        return self if name == "ssl_object" else None

    def getpeercert(self, *, binary_form: bool) -> bytes:
        """Show the certificate."""
        del binary_form
        return self._der

    def abort(self) -> None:
        """End."""
        self.closing = True
        self.lost()

    close = write_eof = abort

    def is_closing(self) -> bool:
        """Return whether it has ended."""
        return self.closing


class SilentDatabase:
    """An executor whose database does not answer."""

    def __getitem__(self, _name: str) -> "SilentDatabase":
        return self

    def __getattr__(self, _name: str) -> Any:
        return self._fail

    def _fail(self, *_args: object, **_options: object) -> None:
        raise AutoReconnect("not now")

    async def run(self, act: Any, *args: object) -> object:
        """Call *act*, which does not get far."""
        return act(self, *args)


class Serving:
    """A websockets server, as far as a handshake asks."""

    def is_serving(self) -> bool:
        """Say yes."""
        return True


@cache
def certificates() -> tuple[Path, bytes, bytes]:
    """Return the authority's folder, a Defender's certificate (DER), its request."""
    folder = scratch_folder()
    create_authority(folder)
    make_key(folder / "key.pem")
    request = make_request(folder / "key.pem", NAME)
    pem = sign_request(
        folder, request, usage=Usage.DEFENDER, common_name=NAME, names=[], days=50
    )
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return folder, der, request


@cache
def permit() -> Permit:
    """Return a right to serve that does not end."""
    made = Permit()
    made.grant(1, FOREVER)
    return made


async def _store(
    _documents: list[RawBSONDocument], _dropped: list[DroppedEvents]
) -> Sequence[int]:
    return []


class Session:
    """One Defender that connects to a port of its own."""

    def __init__(self) -> None:
        folder, der, _ = certificates()
        quota = EventQuota(100)
        self.limiter: ReadLimiter[DefenderConnection] = ReadLimiter()
        self.commit = GroupCommit(_store, quota)
        registry = ConnectionRegistry(
            ServingProcess("s", 7, "10.0.0.1"),
            RegisterWriter(cast(Any, None)),
            cast(ServiceClock, cast(Any, _Clock())),
        )
        registry.certificates.set_revoked([])
        checks = cast(DatabaseExecutor, cast(Any, SilentDatabase()))
        self.handler = ProtocolHandler(registry, self.commit, quota, checks, folder)
        guards = Guards(
            Fence(permit(), node_sentinel=-1),
            self.limiter,
            ConnectionsPerCertificate(),
            LimitedLog(),
            asyncio.Semaphore(2),
        )
        self.connection = connections_of(guards)(
            ServerProtocol(max_size=MAX_FRAME_BYTES),
            cast(Any, Serving()),
            ping_interval=None,
            close_timeout=0.002,
            max_queue=2,
        )
        self.wire = Wire(der)
        self.wire.lost = self._lose
        self._is_lost = False

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    async def play(self, pieces: Sequence[bytes]) -> None:
        """Send *pieces*, hang up, and wait until the handler is done with it."""
        self.connection.connection_made(cast(Any, self.wire))
        storing = asyncio.create_task(self.commit.run())
        handling = asyncio.create_task(self._handle())
        try:
            for piece in pieces:
                await _turns()
                if self.wire.closing:
                    break
                self.connection.data_received(piece)
            await _turns()
            self._lose()
            async with asyncio.timeout(PATIENCE_S):
                await handling
        finally:
            storing.cancel()
            with suppress(asyncio.CancelledError):
                await storing
        assert (self.limiter.total, self.limiter.holding) == (0, [])

    async def _handle(self) -> None:
        try:
            await self.handler.handle(self.connection, lambda: None)
        finally:
            self.wire.abort()


class _Clock:
    def now(self) -> float:
        return 1.0


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _play(pieces: Sequence[bytes]) -> None:
    await Session().play(pieces)


def check_connection(data: bytes) -> None:
    """Play a connection: raw, after the handshake, after the hello, or of messages."""
    kind, content = data[0] % 4 if data else RAW, data[1:]
    width = 8 + (data[0] >> 2) * 64 if data else 1
    parts = [content[at : at + width] for at in range(0, len(content), width)]
    if kind == OPENED:
        parts = [OPENING, *parts]
    elif kind == GREETED:
        parts = [OPENING, HELLO, *parts]
    elif kind == MESSAGES:
        parts = [OPENING, HELLO, *map(masked, content.split(b"\n"))]
    asyncio.run(_play(parts))


def check_message(data: bytes) -> None:
    """Play a connection of a Defender that says one thing after its hello."""
    asyncio.run(_play([OPENING, HELLO, masked(data)]))


def _renewal() -> bytes:
    return encode(RenewalRequested(certificates()[2].decode())).encode()


TEXTS = [encode(message).encode() for message in FROM_DEFENDER]
WIDE = 0xFC
PARSERS = (
    Parser(
        "connection",
        check_connection,
        (
            bytes([RAW | WIDE]) + OPENING + HELLO + masked(TEXTS[1]),
            bytes([RAW]) + OPENING + HELLO,
            bytes([OPENED | WIDE]) + HELLO + masked(TEXTS[1]) + masked(TEXTS[4]),
            bytes([GREETED | WIDE])
            + masked(TEXTS[1])
            + b"\x89\x80\0\0\0\0\x88\x80\0\0\0\0",
            bytes([GREETED | WIDE]) + b'\x01\x82\0\0\0\0{"\x80\x81\0\0\0\0}',
            bytes([MESSAGES]) + b"\n".join([_renewal(), *TEXTS[1:]]),
            bytes([MESSAGES]) + TEXTS[4] + b"\n" + TEXTS[0],
        ),
    ),
    Parser("message", check_message, (*TEXTS, _renewal()), is_json=True),
)
