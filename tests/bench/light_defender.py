"""Defenders that are nothing but a link: thousands in one process, over mutual TLS.

They speak the protocol by hand, which is cheaper than a library: what is measured is
the server. Each has a certificate of its own.
"""

import asyncio
import gc
import random
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.protocol import DefenderHello, encode

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: console\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PATIENCE = 60.0
FIRST_PAUSE = (0.1, 0.5)
HANDSHAKES_AT_ONCE = 128


class Papers(ssl.SSLContext):
    """A client's context that takes the certificate of whoever connects next.

    The name comes as the server's name, which is not checked.
    """

    folder: Path
    turns: asyncio.Semaphore

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: Any = None,
    ) -> ssl.SSLObject:
        """Begin a connection as *server_hostname*."""
        name = str(server_hostname)
        self.load_cert_chain(self.folder / f"{name}.pem", self.folder / "key")
        return super().wrap_bio(incoming, outgoing, server_side, None, session)


def issue(authority: Path, folder: Path, names: list[str]) -> Papers:
    """Issue certificates for *names*; all share one key, which the server allows."""
    make_key(folder / "key")
    request = make_request(folder / "key", "any")
    for name in names:
        pem = sign_request(
            authority, request, usage=Usage.DEFENDER, common_name=name, names=[]
        )
        (folder / f"{name}.pem").write_bytes(pem)
    context = Papers(ssl.PROTOCOL_TLS_CLIENT)
    context.folder = folder
    context.turns = asyncio.Semaphore(HANDSHAKES_AT_ONCE)
    context.check_hostname = False
    context.load_verify_locations(authority / "ca.pem")
    return context


def tune() -> None:
    """Let this process hold thousands of connections."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


class Light(asyncio.Protocol):
    """One Defender; *on_message* gets the text of what the Console says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tries = 0
        self.number = 0
        self.on_message: Callable[[bytes], None] = lambda _text: None
        self.lost: Callable[[Light], None] = lambda _light: None
        self.transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] | None = None
        self._received = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a websocket."""
        self.transport = transport  # type: ignore[assignment]
        self._received, self._open = b"", False
        transport.write(UPGRADE)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever wants to know."""
        del exc
        self.transport = None
        if self.ready and not self.ready.done():
            self.ready.set_exception(ConnectionResetError())
        elif self._open:
            self.lost(self)

    def data_received(self, data: bytes) -> None:
        """Take frames apart; the Console's have no mask."""
        data = self._received + data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._received = head
                return
            self._open = True
        while len(data) >= 2:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if len(data) < start + size:
                break
            if data[0] == 0x81:
                self._hear(data[start : start + size])
            data = data[start + size :]
        self._received = data

    def _hear(self, text: bytes) -> None:
        if b'"type":"hello"' in text:
            self.send(encode(DefenderHello(self.name, "26.11.1")).encode())
            if self.ready and not self.ready.done():
                self.ready.set_result(None)
        else:
            self.on_message(text)

    def ping(self) -> None:
        """Ask whether the Console lives, as Defenders do."""
        if self.transport:
            self.transport.write(b"\x89\x80\0\0\0\0")

    def send(self, text: bytes) -> None:
        """Send a text; a mask of zeros masks nothing."""
        if self.transport is None:
            return
        size = len(text)
        head = (
            bytes((0x81, 0x80 | size))
            if size < 126
            else b"\x81\xfe" + size.to_bytes(2, "big")
        )
        self.transport.write(head + b"\0\0\0\0" + text)

    async def arrive(self, papers: Papers, port: int) -> None:
        """Connect, again and again with pauses that grow, and be greeted."""
        pause = random.uniform(*FIRST_PAUSE)  # noqa: S311 - spreads, no secret
        while True:
            self.tries += 1
            try:
                await self._connect(papers, port)
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 15.0)
            else:
                return

    async def _connect(self, papers: Papers, port: int) -> None:
        """Knock at once, and be greeted in turn: all hosts share one processor here."""
        loop = asyncio.get_running_loop()
        knocking = socket.socket()
        knocking.setblocking(False)
        try:
            await loop.sock_connect(knocking, ("127.0.0.1", port))
            async with papers.turns:
                self.ready = loop.create_future()
                await loop.create_connection(
                    lambda: self,
                    sock=knocking,
                    ssl=papers,
                    server_hostname=self.name,
                    ssl_handshake_timeout=PATIENCE,
                )
                await self.ready
        except BaseException:
            knocking.close()
            raise

    def leave(self) -> None:
        """Hang up."""
        if self.transport:
            self.transport.abort()
