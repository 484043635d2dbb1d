"""Connections that never become Defenders: bounded in bytes, time and number."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.fleet.defender_client import (
    PATIENCE,
    Dialled,
    FleetClient,
    is_cut,
    masked,
    revoke_certificate,
    seconds_until_acknowledged,
    trouble,
    until,
)
from tests.hosts.pace import Pace
from twistlock_console.protocol import DefenderHello, Events, encode
from twistlock_console.servers.defenders.handler import OPENING_TIMEOUT_S
from twistlock_console.servers.supervisor.child_listener import ChildListener

UNFINISHED = masked(b"{" + b" " * 1_900_000, announced=2_000_000)
LONGEST_ACK_S = 2.0
"""What a neighbour is answered within on an idle machine; see `Pace`."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def neighbour(fleet: FleetClient) -> Dialled:
    """Return another Defender, whose reports must be answered."""
    return fleet.dial("neighbour").greet()


def resident(server: ChildListener) -> float:
    """Return the megabytes of the server that are in memory."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    return float(text.split("VmRSS:")[1].split()[0]) / 1024


def pour(client: socket.socket, data: bytes, seconds: float = 2.0) -> None:
    """Send as much of *data* as is taken."""
    client.settimeout(seconds)
    with suppress(OSError):
        client.sendall(data)


def revoke(fleet: FleetClient, database: Database[dict[str, Any]], name: str) -> None:
    """Revoke the certificate of *name*, and wait until the server knows."""
    known = fleet.dial(name).greet()
    serial = fleet.certificate(name).serial_number
    revoke_certificate(database, name, f"{serial:x}")
    assert known.ending()[0] == 1008


def test_a_revoked_certificate_gets_no_greeting_and_holds_no_memory(
    fleet: FleetClient, database: Database[dict[str, Any]], server: ChildListener
) -> None:
    """It is closed with the reason, whatever it goes on to send."""
    revoke(fleet, database, "gone-1")
    before = resident(server)
    clients = [fleet.raw("gone-1") for _ in range(3)]
    for client in clients:
        pour(client, UNFINISHED, 1.0)
    received = [client.recv(4096) for client in clients[-1:]]

    assert resident(server) - before < 3
    assert b'"type":"hello"' not in received[0]
    assert all(is_cut(client) for client in clients)


def test_more_than_16_kib_before_the_hello_is_cut_off(fleet: FleetClient) -> None:
    """Also when it comes in one piece with the request for a websocket.

    At once: who is merely late with the hello is cut off too, but not before its time.
    """
    fleet.certificate("rude")
    began = time.monotonic()
    client = fleet.raw("rude")
    pour(client, UNFINISHED)

    assert is_cut(client)
    assert time.monotonic() - began < OPENING_TIMEOUT_S


def test_findings_may_follow_the_hello_at_once(fleet: FleetClient) -> None:
    """A Defender with a full outbox does not wait between the two."""
    findings = tuple(trouble(number, "x" * 1000) for number in range(1, 401))
    client = fleet.raw("eager")
    hello = encode(DefenderHello("eager", "26.11.1")).encode()
    client.sendall(masked(hello) + masked(encode(Events(findings)).encode()))
    received = b""
    while b'"through":400' not in received:
        received += client.recv(65536)


@pytest.mark.parametrize("sent", [b"", b"\x81\xfe", masked(b"{", announced=300)])
def test_a_connection_without_a_hello_is_closed_in_time(
    fleet: FleetClient, sent: bytes
) -> None:
    """Silent, or with a frame that never ends."""
    with Pace() as pace:
        began = time.monotonic()
        client = fleet.raw("silent")
        client.sendall(sent)
        cut = is_cut(client)
        seconds = time.monotonic() - began

    assert cut
    assert OPENING_TIMEOUT_S <= seconds < OPENING_TIMEOUT_S + pace.limit(5)


def test_one_certificate_with_200_connections_is_no_burden(
    fleet: FleetClient, neighbour: Dialled, server: ChildListener
) -> None:
    """Each with an unfinished frame before the hello."""
    before, waits = resident(server), []
    clients = []
    with Pace() as pace:
        for number in range(1, 201):
            clients.append(fleet.raw("many"))
            pour(clients[-1], UNFINISHED, 0.05)
            if number % 10 == 0:
                waits.append(seconds_until_acknowledged(neighbour, number))

    assert resident(server) - before < 40
    assert max(waits) < pace.limit(LONGEST_ACK_S)
    until(lambda: sum(is_cut(client, 0.01) for client in clients) >= 197)


def test_a_lost_connection_is_replaced_at_once(
    fleet: FleetClient, server: ChildListener
) -> None:
    """However many dead ones the Console still holds of the same Defender."""
    dead = [fleet.dial("web-1").greet()]
    dead += [fleet.dial("web-1") for _ in range(6)]
    again = fleet.dial("web-1").greet()

    assert again.report(trouble(1)) == 1
    assert dead[0].ending()[0] in {1006, 1008}


def test_another_address_gets_in_through_a_flood_of_one(
    fleet: FleetClient, neighbour: Dialled, stack: ExitStack
) -> None:
    """3,000 connections of one address that send half a handshake."""
    for _ in range(3000):
        client = socket.create_connection(
            ("127.0.0.1", fleet.port), PATIENCE, ("127.0.0.9", 0)
        )
        stack.enter_context(client)
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
    with Pace() as pace:
        began = time.monotonic()
        assert fleet.dial("late").greet().report(trouble(1)) == 1
        waits = [time.monotonic() - began, seconds_until_acknowledged(neighbour, 1)]

    assert max(waits) < pace.limit(LONGEST_ACK_S)


def test_silent_connections_hold_no_slot(fleet: FleetClient, stack: ExitStack) -> None:
    """A Defender of the same address, as behind a load balancer, gets in at once."""
    for _ in range(3000):
        stack.enter_context(
            socket.create_connection(("127.0.0.1", fleet.port), PATIENCE)
        )
    with Pace() as pace:
        began = time.monotonic()
        assert fleet.dial("late").greet().report(trouble(1)) == 1
        seconds = time.monotonic() - began

    assert seconds < pace.limit(LONGEST_ACK_S)


def test_half_a_handshake_is_ended_in_time(fleet: FleetClient) -> None:
    """Its slot is free for others then."""
    client = socket.create_connection(("127.0.0.1", fleet.port), PATIENCE)
    client.sendall(b"\x16\x03\x01\x02\x00\x01")

    with client:
        assert is_cut(client)


def test_a_server_without_file_descriptors_waits_for_some(
    fleet: FleetClient, neighbour: Dialled, server: ChildListener, stack: ExitStack
) -> None:
    """It neither ends nor takes a processor; those who are connected are served."""
    pid = server.pid or 0
    few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 20
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
    stack.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, before)
    with Pace() as pace, ExitStack() as crowd:
        for _ in range(200):
            crowd.enter_context(
                socket.create_connection(("127.0.0.1", fleet.port), PATIENCE)
            )
        began, spent = time.monotonic(), cpu_seconds(pid)
        waits = [
            seconds_until_acknowledged(neighbour, number) for number in range(1, 20)
        ]
        until(lambda: time.monotonic() - began > 1.5)
        share = (cpu_seconds(pid) - spent) / (time.monotonic() - began)

    assert max(waits) < pace.limit(LONGEST_ACK_S)
    assert share < 0.5
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert fleet.dial("late").greet().report(trouble(1)) == 1
    assert server.pid == pid


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
