"""The server of the Defenders' websockets: uvloop, mutual TLS 1.3."""

import asyncio
import gc
import logging
import secrets
import signal
import ssl
from contextlib import suppress

import uvloop

from twistlock_console.database.client import reload_certificate
from twistlock_console.defenders import register
from twistlock_console.defenders.control import DefenderSettings
from twistlock_console.defenders.event_quota import EventQuota
from twistlock_console.defenders.event_store import store_events
from twistlock_console.defenders.register import ServiceClock
from twistlock_console.pki.tls import Usage, reload_on_change, server_context
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
from twistlock_console.servers.defenders.periodic_tasks import PeriodicTasks
from twistlock_console.servers.defenders.port import DefenderPort
from twistlock_console.servers.supervisor.bootstrap import ReadyPipe, Serve
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.servers.supervisor.server_checks import CheckResponder
from twistlock_console.servers.supervisor.sockets import bind_all
from twistlock_console.settings import Settings
from twistlock_console.system.admission import AdmissionLimits
from twistlock_console.system.processes import raise_file_limit

BACKLOG = 4096
MAX_LARGE_MESSAGES = 8
"""Messages of more than 16 KiB that are decoded and not stored yet."""
SERVICE_RESTART = 1012
#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME.
NO_CHECK_TIME = 0x200000


def prepare_defenders(settings: Settings) -> Serve:
    """Build the Defenders' server and return the function that serves.

    That function closes all connections with code 1012 on SIGTERM. It raises
    ListenerError if the port cannot be bound.

    Raises:
        IdentityError: The certificates cannot be read.

    """
    tls = server_context(settings.folders.certificates, client=Usage.DEFENDER)
    # An expired certificate is refused after the handshake, with the reason.
    tls.verify_flags |= NO_CHECK_TIME
    _tune()
    # It logs each step of the server; the node logs those as well.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)

    async def serve(settings: Settings, fence: Fence, report: ReadyPipe) -> None:
        await DefenderServer(settings, fence).serve(tls, report)

    def run(settings: Settings, fence: Fence, report: ReadyPipe) -> None:
        uvloop.run(serve(settings, fence, report))

    return run


class DefenderServer:
    """Builds the parts of the server and runs them; event loop only.

    *fence* guards the right to serve. Raises IdentityError if the database's password
    cannot be read.
    """

    def __init__(self, settings: Settings, fence: Fence) -> None:
        self._settings = settings
        self._fence = fence
        self._database = database = DatabaseExecutor(settings)
        self._checks = DatabaseExecutor(settings, threads=1)
        self._register_writer = RegisterWriter(
            lambda changes: database.run(register.write, changes)
        )
        self._quota = EventQuota(DefenderSettings().event_quota_megabytes)
        self._commit = GroupCommit(
            lambda *what: database.run(store_events, *what), self._quota
        )
        process_id, node = secrets.token_hex(8), settings.node_address
        server = register.ServingProcess(process_id, fence.epoch, node)
        self._registry = ConnectionRegistry(
            server, self._register_writer, ServiceClock()
        )
        self._read_limiter = ReadLimiter[DefenderConnection]()

    async def serve(self, tls: ssl.SSLContext, report: ReadyPipe) -> None:
        """Open the port, and serve until SIGTERM or until a task fails."""
        port = await self._open_port(tls)
        self._answer_node(port, report)
        report.ready()
        working = asyncio.create_task(self._run_tasks(tls))
        # No connection is accepted before the revoked certificates are known.
        loaded = self._registry.certificates.loaded
        opening = asyncio.create_task(port.start(loaded))
        closed = asyncio.create_task(port.wait_closed())
        # A task that fails ends the server, and the supervisor starts another.
        await asyncio.wait({working, closed}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        opening.cancel()
        working.cancel()
        # Its end has to be awaited, or asyncio logs it as an error.
        with suppress(asyncio.CancelledError):
            await working
        self._database.close()
        self._checks.close()

    async def _open_port(self, tls: ssl.SSLContext) -> DefenderPort:
        certificates = self._settings.folders.certificates
        handler = ProtocolHandler(
            self._registry, self._commit, self._quota, self._checks, certificates
        )
        guards = Guards(
            self._fence,
            self._read_limiter,
            ConnectionsPerCertificate(),
            self._registry.closings,
            asyncio.Semaphore(MAX_LARGE_MESSAGES),
        )
        listening = bind_all(_listen_addresses(self._settings), BACKLOG)
        limits = AdmissionLimits.for_open_files(raise_file_limit())
        port = DefenderPort(listening, tls, limits, handler, connections_of(guards))
        await port.prepare()
        return port

    def _answer_node(self, port: DefenderPort, report: ReadyPipe) -> None:
        """Close the port on SIGTERM, and answer the checks of the node."""

        def leave() -> None:
            self._registry.announce_shutdown()
            port.close(SERVICE_RESTART, "this Console stops serving")

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, leave)
        responder = CheckResponder(report.checks, _skip_probe, port.load)
        loop.add_reader(responder.fileno(), responder.on_readable)

    async def _run_tasks(self, tls: ssl.SSLContext) -> None:
        settings = self._settings
        tasks = PeriodicTasks(
            self._registry,
            self._commit,
            self._quota,
            self._database,
            self._read_limiter,
        )
        await asyncio.gather(
            self._commit.run(),
            self._register_writer.run(),
            tasks.poll(),
            tasks.sweep(),
            tasks.send_keepalives(),
            tasks.limit_memory(),
            reload_on_change(
                tls, settings.folders.certificates, lambda: reload_certificate(settings)
            ),
        )


def _skip_probe() -> str:
    """Report no problem: the check of the management server probes the database.

    Here it would wait behind events, and a server that is busy is not broken.
    """
    return ""


def _listen_addresses(settings: Settings) -> list[tuple[str, int]]:
    return [(host, settings.communication_port) for host in settings.service_addresses]


def _tune() -> None:
    # Collections stop the loop, for long when there are many connections.
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
