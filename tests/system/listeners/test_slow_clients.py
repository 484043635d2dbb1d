"""Clients that are slow, silent or rude do not keep others from being served."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.hosts.pace import Pace
from tests.listeners.listener_clients import (
    PATIENCE_S,
    get,
    is_cut,
    read_answer,
    tls_client,
)
from twistlock_console.servers.management.limits import (
    HANDSHAKE_TIMEOUT_S,
    MAX_GATHERED_BODY_BYTES,
    MAX_HEAD_BYTES,
    REQUEST_TIMEOUT_S,
    THREADS,
)
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings

CROWD = 40


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def port(ports: ServicePorts, settings: Settings) -> int:
    """An open management port; there are fewer threads behind it than clients."""
    ports.open_all()
    return settings.management_port_https


def silent(port: int) -> socket.socket:
    """Connect, and say nothing."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def half_a_handshake(port: int) -> socket.socket:
    """Connect, and send the beginning of a TLS record."""
    client = silent(port)
    client.sendall(b"\x16\x03\x01\x02\x00\x01")
    return client


def half_a_head(port: int) -> ssl.SSLSocket:
    """Send a request that never ends."""
    client = tls_client(port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    return client


def half_a_form(port: int) -> ssl.SSLSocket:
    """Send less of a form than was announced."""
    client = tls_client(port)
    client.sendall(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
    return client


def pipelined(port: int) -> ssl.SSLSocket:
    """Send a request and half of the next one in one piece."""
    client = tls_client(port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
    read_answer(client)
    return client


@pytest.mark.parametrize(
    "rude", [silent, half_a_handshake, half_a_head, half_a_form, pipelined]
)
def test_many_slow_clients_delay_no_other_client(
    port: int, stack: ExitStack, rude: Callable[[int], socket.socket]
) -> None:
    """A request is answered while more of them than there are threads are slow."""
    clients = [stack.enter_context(rude(port)) for _ in range(CROWD)]
    answer = get(port)[0]

    assert answer == 200
    assert sum(not is_cut(client, 0.001) for client in clients) > THREADS


def test_slow_clients_are_dropped_in_time(port: int, stack: ExitStack) -> None:
    """A request has ten seconds to arrive, dripping or not, and then gets 408."""
    silent_one = stack.enter_context(silent(port))
    with Pace() as pace:
        started = time.monotonic()
        dripping = stack.enter_context(half_a_head(port))
        dripping.settimeout(0.5)
        answer = b""
        while not answer and time.monotonic() - started < PATIENCE_S:
            with suppress(TimeoutError):
                answer = dripping.recv(4096)
            with suppress(OSError):
                dripping.sendall(b"x")
        seconds = time.monotonic() - started

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert REQUEST_TIMEOUT_S <= seconds < REQUEST_TIMEOUT_S + pace.limit(3)
    assert HANDSHAKE_TIMEOUT_S <= REQUEST_TIMEOUT_S
    assert is_cut(silent_one)


def test_a_client_that_does_not_close_delays_no_other_client(
    port: int, stack: ExitStack
) -> None:
    """After a last answer the server waits for the client, but not in its loop."""
    for _ in range(3):
        client = stack.enter_context(tls_client(port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        read_answer(client)
    with Pace() as pace:
        started = time.monotonic()
        answer = get(port)[0]
        seconds = time.monotonic() - started

    assert answer == 200
    assert seconds < pace.limit(1.0)


def test_a_head_without_end_is_refused(port: int, stack: ExitStack) -> None:
    """Memory for a stranger is bounded."""
    client = stack.enter_context(half_a_head(port))
    sent = 0
    with suppress(OSError):
        while sent < 200 * MAX_HEAD_BYTES:
            sent += client.send(b"x" * 65536)
            time.sleep(0.002)

    assert sent < 200 * MAX_HEAD_BYTES


@pytest.mark.parametrize("size", [0, 5, 60_000, 100_000, 3_000_000])
def test_bodies_arrive_whole(port: int, stack: ExitStack, size: int) -> None:
    """Small ones are gathered before the page is asked, large ones while it runs."""
    client = stack.enter_context(tls_client(port))
    head = (
        f"POST /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: good\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    answers = []
    for _ in range(1 if size > MAX_GATHERED_BODY_BYTES else 2):
        client.sendall(head.encode() + b"x" * size)
        answers.append(read_answer(client))

    assert set(answers) == {(200, str(size).encode())}


def test_requests_in_one_piece_are_answered_in_turn(
    port: int, stack: ExitStack
) -> None:
    """Pipelining is rare, and works."""
    client = stack.enter_context(tls_client(port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    answers = [client.recv(65536) for _ in range(1)]
    while b"".join(answers).count(b"HTTP/1.1 200") < 3:
        answers.append(client.recv(65536))

    assert b"".join(answers).count(b"HTTP/1.1 200") == 3
