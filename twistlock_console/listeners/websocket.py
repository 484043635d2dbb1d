"""The server that Defenders hold their websockets to: asyncio, mutual TLS 1.3."""

import asyncio
import gc
import logging
import signal
import ssl
from asyncio import sslproto
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

import twistlock_console
from twistlock_console.certificates import Usage, peer_identity, server_context
from twistlock_console.database.client import follow_certificate
from twistlock_console.errors import ConsoleError
from twistlock_console.followed_tls import follow
from twistlock_console.listeners.birth import Report, Serve
from twistlock_console.listeners.conversation import converse
from twistlock_console.listeners.fence import Fence
from twistlock_console.listeners.sockets import bind
from twistlock_console.protocol import LARGEST_MESSAGE, ConsoleHello
from twistlock_console.settings import Settings

BACKLOG = 4096
OPEN_SECONDS = 60
PING_SECONDS = 20
CLOSE_SECONDS = 2
SERVICE_RESTART = 1012
TLS_BUFFER = 16 * 1024
# A peer that sends a little too much is told; one that sends far more is just cut off.
CUT_OFF = 2 * LARGEST_MESSAGE


def prepare_defenders(settings: Settings) -> Serve:
    """Make ready to serve Defenders until ended; SIGTERM sends them away with 1012.

    Raises IdentityError; serving them raises ListenerError before it has begun.
    """
    tls = server_context(settings.folders.certificates, client=Usage.DEFENDER)
    _tune()
    # It has a line for each step of its life; the node tells of those too.
    logging.getLogger("websockets.server").setLevel(logging.WARNING)

    def run(settings: Settings, fence: Fence, report: Report) -> None:
        asyncio.run(_serve(tls, settings, fence, report))

    return run


async def _serve(
    tls: ssl.SSLContext, settings: Settings, fence: Fence, report: Report
) -> None:
    greeting = ConsoleHello(fence.epoch, twistlock_console.__version__)

    async def talk(connection: ServerConnection) -> None:
        await converse(connection, greeting, connection.username)

    servers = [
        await serve(
            talk,
            sock=bind((host, settings.communication_port), BACKLOG),
            ssl=tls,
            backlog=BACKLOG,
            open_timeout=OPEN_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_size=CUT_OFF,
            compression=None,
            process_request=admit,
            create_connection=_fenced_connections(fence),
        )
        for host in settings.service_addresses
    ]

    def leave() -> None:
        for server in servers:
            server.close(code=SERVICE_RESTART, reason="this Console stops serving")

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    report.ready()
    folder = settings.folders.certificates
    following = asyncio.create_task(
        follow(tls, folder, lambda: follow_certificate(settings))
    )
    await asyncio.gather(*(server.wait_closed() for server in servers))
    following.cancel()


def admit(connection: ServerConnection, _request: Request) -> Response | None:
    """Let Defenders in, and refuse everyone else who has a certificate of ours."""
    tls = connection.transport.get_extra_info("ssl_object")
    try:
        peer = peer_identity(tls.getpeercert(binary_form=True))
    except ConsoleError:
        peer = None
    if peer is None or peer.usage is not Usage.DEFENDER:
        return connection.respond(HTTPStatus.FORBIDDEN, "Only Defenders come here.\n")
    connection.username = peer.common_name
    return None


def _fenced_connections(fence: Fence) -> type[ServerConnection]:
    class FencedConnection(ServerConnection):
        """Takes and gives nothing once the right to serve has ended."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            fence.check()
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            fence.check()
            super().data_received(data)

        def send_data(self) -> None:
            fence.check()
            super().send_data()

    return FencedConnection


def _tune() -> None:
    # asyncio clears a buffer of 256 KiB for every TLS connection. The attribute is
    # private: a test tells when it goes.
    if hasattr(sslproto.SSLProtocol, "max_size"):
        sslproto.SSLProtocol.max_size = TLS_BUFFER
    # Collections stop the loop, for long when there are many connections.
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
