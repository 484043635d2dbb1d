"""A Console that greets, pushes a policy, acknowledges, and notes what it was told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve

from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.tls import Usage, server_context
from twistlock_console.protocol import (
    Acknowledged,
    CertificateRenewed,
    ConsoleHello,
    DefenderHello,
    Event,
    Events,
    FromConsole,
    Ping,
    Pong,
    RenewalRequested,
    decode_from_defender,
    encode,
)


class FakeConsole:
    """With the certificates in *folder*, under *epoch*.

    *pushes* are sent to each Defender after its hello. While `acknowledging` is off,
    events are noted and not acknowledged. While `renewing` is on, certificates are
    renewed.
    """

    def __init__(self, folder: Path, epoch: int = 7, *pushes: FromConsole) -> None:
        self._folder = folder
        self._tls = server_context(folder, client=Usage.DEFENDER)
        self._epoch = epoch
        self.pushes = list(pushes)
        self.acknowledging = True
        self.renewing = False
        self.hellos: list[DefenderHello] = []
        self.messages: list[list[Event]] = []
        self.connections: list[ServerConnection] = []

    @property
    def events(self) -> list[Event]:
        """All that came, also what came twice."""
        return [event for message in self.messages for event in message]

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator[str]:
        """Listen; gives the address."""
        options = {"ssl": self._tls, "ping_interval": None, "close_timeout": 0.1}
        async with await serve(self._talk, "127.0.0.1", port, **options) as server:
            yield address(server)
            for connection in self.connections:
                connection.transport.abort()

    async def _talk(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        await connection.send(
            encode(ConsoleHello(self._epoch, "26.11.1", renews=self.renewing))
        )
        async for frame in connection:
            await self._answer(connection, frame)

    async def _answer(self, connection: ServerConnection, frame: str | bytes) -> None:
        match decode_from_defender(frame):
            case DefenderHello() as hello:
                self.hellos.append(hello)
                for push in self.pushes:
                    await connection.send(encode(push))
            case Events(events):
                self.messages.append(list(events))
                if self.acknowledging:
                    await connection.send(encode(Acknowledged(events[-1].number)))
            case RenewalRequested(request):
                name = self.hellos[-1].defender
                made = sign_request(
                    self._folder,
                    request.encode(),
                    usage=Usage.DEFENDER,
                    common_name=name,
                    names=[],
                )
                await connection.send(encode(CertificateRenewed(made.decode())))
            case Ping():
                await connection.send(encode(Pong()))


def address(server: Server) -> str:
    """Where *server* listens."""
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def until(look: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until there is something true; raises TimeoutError that names *what*."""
    try:
        async with asyncio.timeout(seconds):
            while not look():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {seconds:g} s: {what}") from None
