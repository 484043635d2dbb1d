"""Floods and slow clients of the node API delay no node, and cost few threads."""

import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from tests.hosts.ports import free_port
from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import PATIENCE_S, is_cut
from twistlock_console.node_api import connections, server
from twistlock_console.node_api.client import NodeClient
from twistlock_console.node_api.connections import Caller, NodeConnections
from twistlock_console.node_api.gate import (
    ACCEPT_RETRY_INTERVAL_S,
    MEMBER_LIMITS,
    STRANGER_LIMITS,
    Gate,
)
from twistlock_console.node_api.server import NodeApi, node_app
from twistlock_console.pki.tls import client_context
from twistlock_console.settings import Settings
from twistlock_console.system import admission

HALF_A_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
JOINING = "127.0.0.4"
MEMBER = "127.0.0.5"
SHORT_S = 1.0
GET = b"GET /v1/well HTTP/1.1\r\nHost: node\r\n\r\n"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def node(settings: Settings, stack: ExitStack) -> Settings:
    """Return the settings of a node whose node API answers at /v1/well."""
    alone = replace(settings, node_api_port=free_port())
    app = node_app()
    both = ["GET", "POST"]
    app.add_url_rule("/v1/well", view_func=lambda: {"well": True}, methods=both)
    app.add_url_rule("/v1/large", "large", lambda: "x" * 32_000_000)
    api = NodeApi(alone, app)
    api.reserve_slots([MEMBER])
    api.open()
    stack.callback(api.close)
    return alone


def connect(node: Settings, source: str) -> socket.socket:
    """Connect from an address."""
    place = ("127.0.0.1", node.node_api_port)
    return socket.create_connection(place, PATIENCE_S, (source, 0))


def as_node(node: Settings, source: str, stack: ExitStack) -> ssl.SSLSocket:
    """Shake hands as a node."""
    plain = stack.enter_context(connect(node, source))
    tls = client_context(node.folders.certificates)
    return stack.enter_context(tls.wrap_socket(plain, server_hostname="127.0.0.1"))


def is_answered(node: Settings, source: str, stack: ExitStack) -> bool:
    """Ask on a new connection; return whether an answer came."""
    client = as_node(node, source, stack)
    client.sendall(GET)
    return client.recv(4096).startswith(b"HTTP/1.1 200")


def flood(node: Settings, stack: ExitStack) -> list[socket.socket]:
    """Begin handshakes from twenty addresses, more than there are slots."""
    clients = []
    for number in range(20 * STRANGER_LIMITS.per_address):
        client = stack.enter_context(connect(node, f"127.0.1.{number % 20 + 1}"))
        client.sendall(HALF_A_HANDSHAKE)
        clients.append(client)
    return clients


@pytest.fixture
def _endless_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no deadline free the slots of a flood."""
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT_S", 10 * PATIENCE_S)


@pytest.fixture
def _kept_slots(_endless_handshakes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others take no slots of a flood either: who needs one waits in vain."""
    monkeypatch.setattr(admission, "PREEMPT_AFTER_S", 10 * PATIENCE_S)


def connection_threads() -> int:
    """Return how many threads serve connections."""
    return sum(each.name == server.THREAD_NAME for each in threading.enumerate())


@pytest.mark.usefixtures("_kept_slots")
def test_members_are_not_delayed_by_strangers(node: Settings, stack: ExitStack) -> None:
    """They have slots of their own; nor are our own commands and pages."""
    with NodeClient(node, "127.0.0.1") as standing:
        standing.get("/v1/well")
        flood(node, stack)

        assert standing.get("/v1/well", timeout=PATIENCE_S) == {"well": True}
        assert is_answered(node, MEMBER, stack)
        with NodeClient(node, "127.0.0.1") as client:
            assert client.get("/v1/well", timeout=PATIENCE_S) == {"well": True}


@pytest.mark.usefixtures("_endless_handshakes")
def test_a_host_that_joins_gets_its_turn(node: Settings, stack: ExitStack) -> None:
    """It is a stranger until it is a member; addresses take turns.

    Most of the flood, which came before it, still waits for a turn by then.
    """
    clients = flood(node, stack)

    assert is_answered(node, JOINING, stack)
    had_a_turn = [client for client in clients if is_cut(client, 0.001)]
    assert len(had_a_turn) < len(clients) / 2


@pytest.mark.usefixtures("_kept_slots")
def test_connections_of_strangers_cost_few_threads(
    node: Settings, stack: ExitStack
) -> None:
    """Silent ones none, and those in a handshake at most one for each slot."""
    assert eventually(lambda: connection_threads() == 0)
    for _ in range(300):
        stack.enter_context(connect(node, "127.0.0.3"))
    assert connection_threads() == 0
    flood(node, stack)

    assert eventually(lambda: connection_threads() > 0)
    assert connection_threads() <= STRANGER_LIMITS.opening
    assert is_answered(node, MEMBER, stack)


def test_too_many_silent_connections_of_an_address_are_reset(
    node: Settings, stack: ExitStack
) -> None:
    """Those of other addresses stay."""
    other = stack.enter_context(connect(node, "127.0.0.2"))
    crowd: list[socket.socket] = []
    for _ in range(STRANGER_LIMITS.waiting + 20):
        # Some are reset before they know that they are connected.
        with suppress(ConnectionResetError):
            crowd.append(stack.enter_context(connect(node, "127.0.0.3")))

    def count_reset() -> int:
        missing = STRANGER_LIMITS.waiting + 20 - len(crowd)
        return missing + sum(is_cut(client, 0.001) for client in crowd[-40:])

    assert eventually(lambda: count_reset() >= 20)
    assert not is_cut(other, 0.1)


def is_cut_while_it_drips(client: socket.socket) -> bool:
    """Send a byte now and then; return whether the connection is cut all the same."""

    def drip() -> bool:
        try:
            client.sendall(b"x")
        except OSError:
            return True
        return is_cut(client, 0.2)

    return eventually(drip, 8 * SHORT_S)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the deadlines short."""
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT_S", SHORT_S)
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", SHORT_S)
    monkeypatch.setattr(server, "ANSWER_TIMEOUT_S", SHORT_S)


@pytest.mark.usefixtures("impatient")
def test_a_dripping_handshake_has_one_deadline(
    node: Settings, stack: ExitStack
) -> None:
    """A byte now and then does not prolong it."""
    began = time.monotonic()
    client = stack.enter_context(connect(node, JOINING))
    client.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")

    assert is_cut_while_it_drips(client)
    assert time.monotonic() - began >= SHORT_S


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"GET /v1/well HTTP/1.1\r\nX-Slow: ", id="head"),
        pytest.param(
            b"POST /v1/well HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", id="body"
        ),
    ],
)
def test_a_dripping_request_has_one_deadline(
    node: Settings, stack: ExitStack, begun: bytes
) -> None:
    """Also of a node."""
    client = as_node(node, JOINING, stack)
    began = time.monotonic()
    client.sendall(begun)

    assert is_cut_while_it_drips(client)
    assert time.monotonic() - began >= SHORT_S


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_read_its_answers_is_cut(
    node: Settings, stack: ExitStack
) -> None:
    """Its thread would wait for ever."""
    plain = connect(node, JOINING)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tls = client_context(node.folders.certificates)
    assert eventually(lambda: connection_threads() == 0)
    client = stack.enter_context(tls.wrap_socket(plain, server_hostname="127.0.0.1"))
    assert eventually(lambda: connection_threads() == 1)
    client.sendall(b"GET /v1/large HTTP/1.1\r\nHost: node\r\n\r\n")
    assert eventually(lambda: connection_threads() == 0, 20)


def test_of_too_many_idle_connections_of_a_node_the_oldest_goes(
    node: Settings, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest is served: a peer that lost its connections comes back at once."""
    monkeypatch.setattr(connections, "MAX_PER_CERTIFICATE", 5)
    clients = []
    for _ in range(7):
        clients.append(as_node(node, JOINING, stack))
        clients[-1].sendall(GET)
        clients[-1].recv(4096)

    assert [is_cut(client) for client in clients[:2]] == [True] * 2
    assert [is_cut(client, 0.1) for client in clients[2:]] == [False] * 5


def test_busy_connections_are_not_cut_for_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where all are busy the new one is refused; another node is not concerned."""
    monkeypatch.setattr(connections, "MAX_PER_CERTIFICATE", 2)
    made = NodeConnections(time.monotonic)
    pairs = [socket.socketpair() for _ in range(4)]
    try:
        busy = [made.add(ours) for ours, _ in pairs]  # type: ignore[arg-type]
        one, other = Caller("10.0.0.1", "aa"), Caller("10.0.0.2", "bb")

        told = [made.admit(each, one) for each in busy[:3]]
        assert [*told, made.admit(busy[3], other)] == [True, True, False, True]
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


class Exhausted(socket.socket):
    """A listening socket of a process without file descriptors, for a while."""

    tries = 0
    exhausted = True

    def accept(self) -> tuple[socket.socket, object]:
        """Fail as the kernel does."""
        self.tries += 1
        if self.exhausted:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_file_descriptors_it_waits_for_some(stack: ExitStack) -> None:
    """It neither ends nor tries all the time."""
    listening = stack.enter_context(Exhausted())
    listening.bind(("127.0.0.1", 0))
    listening.listen(8)
    begun: list[str] = []

    def begin(connection: socket.socket, address: str) -> Callable[[], None]:
        begun.append(address)
        stack.enter_context(connection)
        return lambda: None

    gate = Gate(listening, frozenset, begin, lambda: None)
    threading.Thread(target=gate.run, daemon=True).start()
    stack.callback(gate.stop)
    began = time.monotonic()
    client = socket.create_connection(listening.getsockname(), PATIENCE_S)
    stack.enter_context(client).sendall(b"x")
    eventually(lambda: listening.tries >= 3, 10)
    waited = time.monotonic() - began
    listening.exhausted = False

    assert eventually(lambda: begun == ["127.0.0.1"])
    assert waited > 1.5 * ACCEPT_RETRY_INTERVAL_S
    assert MEMBER_LIMITS.opening > 0


def test_what_ends_after_the_node_api_writes_to_no_other_file() -> None:
    """The numbers of the closed descriptors are given to others at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gate = Gate(listening, frozenset, lambda *_: lambda: None, lambda: None)
        thread = threading.Thread(target=gate.run)
        thread.start()
        gate.stop()
        thread.join()
        with ExitStack() as others:
            pairs = [socket.socketpair() for _ in range(8)]
            for pair in pairs:
                for each in pair:
                    others.enter_context(each).setblocking(False)
            gate.release(listening)
            gate.stop()

            for pair in pairs:
                for each in pair:
                    with pytest.raises(BlockingIOError):
                        each.recv(1)
