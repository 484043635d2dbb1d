"""Crowds against the management server: others are answered, and nothing fails.

Each source address of loopback stands for a host.
"""

import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.hosts.pace import Pace
from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    PATIENCE_S,
    get,
    group_of,
    is_cut,
    send_request,
    tls_client,
)
from tests.listeners.small_app import HELD
from twistlock_console.events.types import ListenerFailed
from twistlock_console.servers.management import limits
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings

ATTACKER, STRANGER = "127.0.0.3", "127.0.0.4"
PING = "/api/v1/_ping"
MAX_SERVER_MB = 250
LONGEST_ANSWER_S = 2.0
"""On an idle machine; see `Pace`."""
DESCRIPTORS = 12_000


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def port(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> Iterator[int]:
    """An open management port; after the test no server has failed."""
    ports.open_all()
    pids = ports.pids()
    yield settings.management_port_https
    ports.checks.run()
    assert ports.pids() == pids
    assert not any(isinstance(event, ListenerFailed) for event in events)


@pytest.fixture
def descriptors() -> Iterator[int]:
    """Allow this process as many sockets as it may have; say how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Honest:
    """A client that asks in turn for a page and for `_ping`, on new connections."""

    def __init__(self, port: int, source: str) -> None:
        self.asked = 0
        self._seconds: list[float] = []
        self._pace = Pace()
        self._port = port
        self._source = source
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Honest":
        self._pace.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._pace.__exit__()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            started = time.monotonic()
            path = ("/", PING)[self.asked % 2]
            self.asked += 1
            with suppress(OSError):
                if get(self._port, path, source=self._source)[0] == 200:
                    self._seconds.append(time.monotonic() - started)

    def share(self) -> float:
        """Return how many of its requests were answered in time."""
        limit = self._pace.limit(LONGEST_ANSWER_S)
        return sum(each < limit for each in self._seconds) / max(self.asked, 1)

    def summary(self) -> str:
        """Return the figures in words."""
        return (
            f"{len(self._seconds)} of {self.asked} answered, slowest "
            f"{max(self._seconds, default=0):.2f} s, pace {self._pace.slowness:.1f}"
        )


def memory_mb(pid: int) -> float:
    """The most resident memory that a process of the group that *pid* leads has."""

    def resident(process: int) -> float:
        status = Path(f"/proc/{process}/status").read_text()
        line = next(at for at in status.splitlines() if at.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    return max(resident(process) for process in group_of(pid))


def busy_threads(ports: ServicePorts) -> int:
    """Ask the management server how many threads are busy."""
    ports.checks.run()
    return ports.checks.loads["management"].busy_threads


def slow_body(port: int, head: str, source: str = ATTACKER) -> ssl.SSLSocket:
    """Send the beginning of a POST."""
    client = tls_client(port, source=source)
    client.sendall(f"POST /api/v1/x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{{".encode())
    return client


def statuses(clients: list[ssl.SSLSocket]) -> list[bytes]:
    """What each of them got while it sent a byte now and then."""
    answers = [b""] * len(clients)

    def have_all() -> bool:
        for place, client in enumerate(clients):
            if not answers[place]:
                client.settimeout(0.02)
                with suppress(OSError):
                    answers[place] = client.recv(4096)
                with suppress(OSError):
                    client.sendall(b"x")
        return all(answers)

    eventually(have_all, PATIENCE_S)
    return [answer[9:12] for answer in answers]


def test_slow_bodies(
    port: int,
    stack: ExitStack,
    ports: ServicePorts,
    record_property: Callable[[str, object], None],
) -> None:
    """Twenty that are too large, forty of unknown length, twenty that drip."""
    with Honest(port, STRANGER) as honest:
        large = [slow_body(port, "Content-Length: 300000") for _ in range(20)]
        chunked = [slow_body(port, "Transfer-Encoding: chunked") for _ in range(40)]
        small = [slow_body(port, "Content-Length: 60000") for _ in range(20)]
        for client in (*large, *chunked, *small):
            stack.enter_context(client)
        got = statuses(large), statuses(chunked), statuses(small)
        ports.checks.run()
    record_property("told", f"slow bodies: {honest.summary()}")

    assert got == ([b"413"] * 20, [b"411"] * 40, [b"408"] * 20)
    assert honest.share() >= 0.95


@pytest.mark.parametrize("count", [1_300, 10_000])
def test_silent_connections_of_one_address(
    port: int,
    ports: ServicePorts,
    stack: ExitStack,
    descriptors: int,
    count: int,
    record_property: Callable[[str, object], None],
) -> None:
    """The address keeps what one may have, others are answered, memory stays small."""
    with Honest(port, STRANGER) as honest:
        clients = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), PATIENCE_S, (ATTACKER, 0))
            )
            for _ in range(min(count, descriptors - 200))
        ]
        ports.checks.run()
        load = ports.checks.loads["management"]
        time.sleep(1)
    most = memory_mb(ports.pids()["management"])
    record_property("told", f"{count} silent: {honest.summary()}, {most:.0f} MB")

    assert honest.share() >= 0.95
    assert load.connections <= limits.MAX_CONNECTIONS_PER_ADDRESS + 5
    assert is_cut(clients[0])
    assert most < MAX_SERVER_MB


def test_slow_downloads(
    port: int,
    ports: ServicePorts,
    stack: ExitStack,
    record_property: Callable[[str, object], None],
) -> None:
    """Fifty clients that read next to nothing hold no thread, and little memory."""
    with Honest(port, STRANGER) as honest:
        for _ in range(50):
            client = stack.enter_context(tls_client(port, source=ATTACKER))
            send_request(client, "/large/100000")
            client.recv(100)

        def is_at_rest() -> bool:
            return busy_threads(ports) <= 1

        assert eventually(is_at_rest)
        time.sleep(2)
    most = memory_mb(ports.pids()["management"])
    record_property("told", f"50 slow downloads: {most:.0f} MB")

    assert honest.share() >= 0.95
    assert most < MAX_SERVER_MB


def test_everything_at_once_while_all_threads_are_busy(
    port: int, ports: ServicePorts, stack: ExitStack
) -> None:
    """The check is passed, and `_ping` answered, from every address."""
    for source in (ATTACKER, "127.0.0.5"):
        for _ in range(limits.THREADS):
            client = stack.enter_context(tls_client(port, source=source))
            send_request(client, HELD)
        for _ in range(50):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))
            )
    assert eventually(lambda: busy_threads(ports) == limits.THREADS)
    for _ in range(4):
        assert busy_threads(ports) == limits.THREADS
    for source in (ATTACKER, STRANGER):
        assert get(port, PING, source=source)[0] == 200
    assert busy_threads(ports) == limits.THREADS


def test_a_burst_of_handshakes_delays_no_other_client_for_long(
    port: int, ports: ServicePorts, stack: ExitStack
) -> None:
    """They cost most of all, and are made client by client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    hellos = [hello(context) for _ in range(200)]
    with Honest(port, STRANGER) as honest:
        for first in hellos * 3:
            client = socket.create_connection(
                ("127.0.0.1", port), PATIENCE_S, (ATTACKER, 0)
            )
            stack.enter_context(client)
            client.sendall(first)
        seen = honest.asked
        assert eventually(lambda: honest.asked > seen + 2)

    assert honest.share() >= 0.95


def hello(context: ssl.SSLContext) -> bytes:
    """The first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
