"""What load balancers with our files do while a Console is slow, or gone."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.hosts.pace import Pace
from tests.hosts.waiting import wait_for
from tests.load_balancer.stand_in import (
    BALANCER,
    NEVER_S,
    PATIENCE_S,
    Session,
    StandIns,
    haproxy,
    nginx,
)
from twistlock_console.common.clock import SECOND, boottime_ns

Balancer = Callable[[StandIns], AbstractContextManager[None]]
FLOOD = "127.0.0.9"
EITHER = [
    pytest.param(haproxy, marks=pytest.mark.needs("haproxy")),
    pytest.param(nginx, marks=pytest.mark.needs("nginx", root=True)),
]


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[StandIns]:
    """Three stand-ins, of which the first serves."""
    made = StandIns(tmp_path)
    made.run(made.nodes[0].open())
    yield made
    made.stop()


@pytest.fixture
def behind_haproxy(standing: StandIns) -> Iterator[StandIns]:
    """The same, with HAProxy in front that has found the first."""
    with haproxy(standing):
        wait_for(lambda: standing.nodes[0].answered >= 1, 10, "a health check")
        yield standing


@pytest.mark.needs("haproxy")
def test_late_checks_cut_no_session(behind_haproxy: StandIns) -> None:
    """Two answers after 1.7 s, then two that never come: the busy node goes on."""
    first = behind_haproxy.nodes[0]
    with Session(behind_haproxy) as session:
        first.delay_s = 1.7
        late = first.answered
        wait_for(lambda: first.answered >= late + 2, 30, "two late answers")
        after_late = session.ask()
        first.delay_s = NEVER_S
        lost = first.checks
        wait_for(lambda: first.checks >= lost + 2, 30, "two checks without an answer")
        first.delay_s = 0.0
        good = first.answered
        wait_for(lambda: first.answered >= good + 2, 30, "good answers again")
        at_the_end = session.ask()

    assert [after_late, at_the_end] == [first.address] * 2
    assert Session.served_by(behind_haproxy) == first.address


@pytest.mark.needs("haproxy")
def test_a_node_that_is_silent_for_good_is_left(behind_haproxy: StandIns) -> None:
    """Its sessions are cut after three checks, and new ones go to the new primary."""
    first, second, _ = behind_haproxy.nodes
    with Session(behind_haproxy) as session:
        began = boottime_ns()
        first.delay_s = NEVER_S
        behind_haproxy.run(second.open())
        wait_for(session.is_cut, PATIENCE_S, "the end of the session")
        seconds = (boottime_ns() - began) / SECOND
    later = {Session.served_by(behind_haproxy) for _ in range(4)}

    assert later == {second.address}
    assert seconds > 4.0


@pytest.mark.needs("haproxy")
def test_a_port_that_refuses_is_left_at_once(behind_haproxy: StandIns) -> None:
    """The next session is served by the new primary, before and after it is noticed."""
    first, second, _ = behind_haproxy.nodes
    with Pace() as pace, Session(behind_haproxy) as session:
        behind_haproxy.run(first.close())
        behind_haproxy.run(second.open())
        began = boottime_ns()
        served = second.address
        wait_for(
            lambda: Session.served_by(behind_haproxy) == served, 10, "it", every=0.1
        )
        seconds = (boottime_ns() - began) / SECOND
        cut = session.is_cut()

    assert cut
    assert {Session.served_by(behind_haproxy) for _ in range(9)} == {served}
    assert seconds < pace.limit(3.0)


@pytest.mark.parametrize("balancer", EITHER)
def test_silent_connections_reach_no_console(
    standing: StandIns, balancer: Balancer
) -> None:
    """They are closed after 5 s; a TLS client beside them is served."""
    first = standing.nodes[0]
    port = standing.front.defenders_port
    with balancer(standing), ExitStack() as things:
        wait_for(lambda: served(port, first.address), 10, "the load balancer")
        before = first.sessions
        silent = [things.enter_context(connect(port)) for _ in range(50)]
        honest = served(port, first.address)
        ends = [each.recv(1) for each in silent]

    assert honest
    assert ends == [b""] * 50
    assert first.sessions == before + 1


@pytest.mark.parametrize("balancer", EITHER)
def test_one_client_has_a_bounded_number_of_connections(
    standing: StandIns, balancer: Balancer
) -> None:
    """Of 260 connections from one address, 200 stay; another address is served."""
    first = standing.nodes[0]
    port = standing.front.api_port
    with balancer(standing), ExitStack() as things:
        wait_for(lambda: served(port, first.address, tls=standing), 10, "the balancer")
        flood = [things.enter_context(connect_from(port, FLOOD)) for _ in range(260)]
        honest = served(port, first.address, tls=standing)

        def left_open() -> int:
            count = count_open(flood)
            return count if count <= 200 else 0

        left = wait_for(left_open, 4, "closed connections", every=0.02)

    assert honest
    assert left == 200


def connect(port: int) -> socket.socket:
    """Open a TCP connection to the load balancer, and send nothing."""
    return socket.create_connection((BALANCER, port), timeout=PATIENCE_S)


def connect_from(port: int, source: str) -> socket.socket:
    """Begin a TCP connection from the address *source*, and do not wait for it."""
    connection = socket.socket()
    connection.bind((source, 0))
    connection.setblocking(False)
    connection.connect_ex((BALANCER, port))
    return connection


def served(port: int, address: str, tls: StandIns | None = None) -> bool:
    """Return whether a client that begins TLS hears the node at *address*."""
    if tls is not None:
        return Session.served_by(tls) == address
    try:
        with connect(port) as client:
            client.sendall(client_hello())
            return client.recv(64).decode().strip() == address
    except OSError:
        return False


def client_hello() -> bytes:
    """Return the first message of a TLS client."""
    sent = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), sent, server_hostname="console.test"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def count_open(connections: list[socket.socket]) -> int:
    """Return how many are not closed by the other end."""
    return sum(_is_open(each) for each in connections)


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
