"""Stand-ins for three Consoles on loopback addresses, and a load balancer before them.

A stand-in answers health checks as late as a test asks for, and says its address to
whoever has a session with it.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from plugins.ha.load_balancer.files import IN_CHECKOUT
from plugins.ha.load_balancer.templates import (
    FILES,
    LoadBalancedCluster,
    LoadBalancerKind,
    render,
)
from tests.hosts.ports import free_port
from tests.hosts.waiting import wait_for
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.tls import server_context

NODES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
BALANCER = "127.0.0.1"
NEVER_S = 3600.0
PATIENCE_S = 60.0


class StandIn:
    """A Console on *address*; its methods run in the loop that serves it."""

    def __init__(
        self, address: str, front: LoadBalancedCluster, tls: ssl.SSLContext
    ) -> None:
        self.address = address
        self.delay_s = 0.0
        self.checks = 0
        self.answered = 0
        self.sessions = 0
        self._front = front
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen on the API's port with TLS, and on the Defenders' without."""
        listen, address = asyncio.start_server, self.address
        self._servers = [
            await listen(self._serve, address, self._front.api_port, ssl=self._tls),
            await listen(self._serve, address, self._front.defenders_port),
        ]

    async def close(self) -> None:
        """Refuse connections and reset those that stand, as a killed process does."""
        for server in self._servers:
            server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._servers = []

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            first = await reader.read(4096)
            if b"/api/v1/_ping" in first:
                await self._answer_check(writer)
            else:
                await self._hold_session(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _answer_check(self, writer: asyncio.StreamWriter) -> None:
        self.checks += 1
        await asyncio.sleep(self.delay_s)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()
        self.answered += 1

    async def _hold_session(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.sessions += 1
        while True:
            writer.write(self.address.encode() + b"\n")
            if not await reader.read(4096):
                return


class StandIns:
    """Three stand-ins and their loop, on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        create_authority(folder)
        issue_node_certificate(folder, [*NODES, BALANCER])
        self.folder = folder
        self.front = LoadBalancedCluster(
            NODES, "console.test", free_port(BALANCER), None, free_port(BALANCER)
        )
        tls = server_context(folder, client=None)
        self.nodes = [StandIn(address, self.front, tls) for address in NODES]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        """Run the coroutine *work* in the loop and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def stop(self) -> None:
        """Close all stand-ins and end the thread."""
        self.run(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close_all(self) -> None:
        for node in self.nodes:
            await node.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Session:
    """A TLS session of a client through the load balancer; *address* serves it."""

    def __init__(self, standing: StandIns) -> None:
        context = ssl.create_default_context(cafile=str(standing.folder / "ca.pem"))
        where = (BALANCER, standing.front.api_port)
        with socket.create_connection(where, timeout=PATIENCE_S) as plain:
            self._socket = context.wrap_socket(plain, server_hostname=BALANCER)
        self.address = self.ask()

    def ask(self) -> str:
        """Return the address of the node at the other end, or "" if it was cut."""
        try:
            self._socket.sendall(b"who\n")
            return self._socket.recv(64).decode().strip()
        except OSError:
            return ""

    def is_cut(self) -> bool:
        """Return whether the load balancer has ended the session."""
        return not self.ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @classmethod
    def served_by(cls, standing: StandIns) -> str:
        """Return the address that serves a new session, or "" if none does."""
        try:
            with cls(standing) as session:
                return session.address
        except OSError:
            return ""


@contextmanager
def haproxy(standing: StandIns) -> Iterator[None]:
    """Run HAProxy, with the file that we make, until the context ends."""
    file = _file(standing, LoadBalancerKind.HAPROXY)
    more = {
        "LISTEN_ON": BALANCER,
        "CA_FILE": str(standing.folder / "ca.pem"),
        "CONNECTIONS": "400",
        "LOG_TO": "stdout",
        "TWISTLOCK_DEMO": "1",
    }
    with _running(standing, more, "haproxy", "-db", "-f", str(file)):
        yield


@contextmanager
def nginx(standing: StandIns) -> Iterator[None]:
    """Run nginx, with the file that we make, until the context ends."""
    file = _file(standing, LoadBalancerKind.NGINX)
    text = file.read_text().replace("listen ", f"listen {BALANCER}:")
    text = text.replace("/run/nginx.pid", str(standing.folder / "nginx.pid"))
    file.write_text(text)
    with _running(standing, {}, "nginx", "-g", "daemon off;", "-c", str(file)):
        yield


def _file(standing: StandIns, kind: LoadBalancerKind) -> Path:
    file = standing.folder / FILES[kind]
    file.write_text(render((IN_CHECKOUT / FILES[kind]).read_text(), standing.front))
    return file


@contextmanager
def _running(standing: StandIns, more: dict[str, str], *command: str) -> Iterator[None]:
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    log = (standing.folder / "balancer.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [program, *command[1:]],
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            wait_for(lambda: _listens(standing.front.api_port), 10, command[0])
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((BALANCER, port)) == 0
