"""The server that Defenders hold their websockets to: uvloop, mutual TLS 1.3."""

import asyncio
import gc
import logging
import resource
import secrets
import signal
import ssl
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import uvloop
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import follow_certificate
from twistlock_console.defenders import register
from twistlock_console.defenders.event_store import store_events
from twistlock_console.defenders.service_clock import ServiceClock
from twistlock_console.pki.certificates import Usage, peer_identity, server_context
from twistlock_console.pki.reloading_tls import follow
from twistlock_console.protocol import LARGEST_MESSAGE
from twistlock_console.servers.defenders.backpressure import Intake
from twistlock_console.servers.defenders.connection import (
    DefenderConnection,
    connections_of,
)
from twistlock_console.servers.defenders.connections import Fleet
from twistlock_console.servers.defenders.database_executor import Desk
from twistlock_console.servers.defenders.group_commit import GroupCommit
from twistlock_console.servers.defenders.handler import Host
from twistlock_console.servers.defenders.periodic_tasks import Housekeeping
from twistlock_console.servers.defenders.register_writer import Ledger
from twistlock_console.servers.supervisor.bootstrap import Report, Serve
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.servers.supervisor.sockets import bind
from twistlock_console.settings import Settings

BACKLOG = 4096
OPEN_SECONDS = 60
CLOSE_SECONDS = 2
SERVICE_RESTART = 1012
#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME.
NO_CHECK_TIME = 0x200000
# A peer that sends a little too much is told; one that sends far more is just cut off.
CUT_OFF = 2 * LARGEST_MESSAGE


def prepare_defenders(settings: Settings) -> Serve:
    """Make ready to serve Defenders until ended; SIGTERM sends them away with 1012.

    Raises IdentityError; serving them raises ListenerError before it has begun.
    """
    tls = server_context(settings.folders.certificates, client=Usage.DEFENDER)
    # Who comes with a certificate that has ended is told so, after the handshake.
    tls.verify_flags |= NO_CHECK_TIME
    _tune()
    # It has a line for each step of its life; the node tells of those too.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)

    def run(settings: Settings, fence: Fence, report: Report) -> None:
        uvloop.run(_serve(tls, settings, fence, report))

    return run


async def _serve(
    tls: ssl.SSLContext, settings: Settings, fence: Fence, report: Report
) -> None:
    desk, checks = Desk(settings), Desk(settings, threads=1)
    clock = ServiceClock()
    server = register.Server(secrets.token_hex(8), fence.epoch, settings.node_address)
    ledger = Ledger(lambda changes: desk.do(register.write, changes))
    commit = GroupCommit(lambda documents: desk.do(store_events, documents))
    fleet = Fleet(server, ledger, clock)
    host = Host(fleet, commit, checks, settings.folders.certificates)
    intake = Intake()
    house = Housekeeping(fleet, commit, desk, intake)
    kind = connections_of(fence, intake)
    servers = [await _listen(settings, at, tls, host, kind) for at in _places(settings)]

    def leave() -> None:
        fleet.say_goodbye()
        for each in servers:
            each.close(code=SERVICE_RESTART, reason="this Console stops serving")

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    report.ready()
    papers = settings.folders.certificates
    following = follow(tls, papers, lambda: follow_certificate(settings))
    works = (commit.run(), ledger.run(), house.look(), house.sweep(), house.reassure())
    working = asyncio.gather(*works, following)
    closed = asyncio.gather(*(each.wait_closed() for each in servers))
    # A work that fails ends the server: without it nothing here can be trusted.
    both: list[asyncio.Future[Any]] = [working, closed]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    working.cancel()
    # Its end has to be looked at, or asyncio logs it as an error.
    with suppress(asyncio.CancelledError):
        await working
    desk.close()
    checks.close()


def _places(settings: Settings) -> list[tuple[str, int]]:
    return [(host, settings.communication_port) for host in settings.service_addresses]


async def _listen(
    settings: Settings,
    place: tuple[str, int],
    tls: ssl.SSLContext,
    host: Host,
    kind: type[DefenderConnection],
) -> Server:
    async def talk(connection: ServerConnection) -> None:
        await host.converse(cast(DefenderConnection, connection))

    return await serve(
        talk,
        sock=bind(place, BACKLOG),
        ssl=tls,
        # uvloop takes one at a time between two looks at those that are here already:
        # a crowd at the door does not stop who is inside.
        backlog=BACKLOG,
        open_timeout=OPEN_SECONDS,
        ssl_handshake_timeout=OPEN_SECONDS,
        # Defenders ping, and who is silent is sent away: no task for each of them.
        ping_interval=None,
        close_timeout=CLOSE_SECONDS,
        max_size=CUT_OFF,
        max_queue=2,
        compression=None,
        process_request=admit,
        create_connection=kind,
    )


def admit(connection: ServerConnection, _request: Request) -> Response | None:
    """Let Defenders in, and refuse everyone else who has a certificate of ours."""
    tls = connection.transport.get_extra_info("ssl_object")
    try:
        peer = peer_identity(tls.getpeercert(binary_form=True))
    except ConsoleError:
        peer = None
    if peer is None or peer.usage is not Usage.DEFENDER:
        return connection.respond(HTTPStatus.FORBIDDEN, "Only Defenders come here.\n")
    cast(DefenderConnection, connection).identity = peer
    return None


def _tune() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Collections stop the loop, for long when there are many connections.
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
