"""No answer leaves a node whose right to serve has ended."""

import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.hosts.pace import Pace
from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    get,
    group_of,
    is_cut,
    read_answer,
    refuses,
    send_request,
    signal_group,
    tls_client,
)
from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.errors import ListenerError
from twistlock_console.events.types import ListenerFailed
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import FOREVER, Permit

LATEST_END_S = 0.3
"""After the permit, on an idle machine; see `Pace`."""


def all_gone(pids: dict[str, int]) -> Callable[[], bool]:
    """Say whether no process of the servers is left."""
    return lambda: all(group_of(pid) == [] for pid in pids.values())


@pytest.mark.timed
def test_idle_servers_end_when_the_permit_is_revoked(
    ports: ServicePorts, permit: Permit, settings: Settings, events: list[object]
) -> None:
    """Nobody has to ask them anything for that."""
    ports.open_all()
    pids = ports.pids()
    with Pace() as pace:
        started = time.monotonic()
        permit.revoke()
        gone = eventually(all_gone(pids), 1.0)
        seconds = time.monotonic() - started

    assert gone
    assert seconds < pace.limit(LATEST_END_S)
    assert eventually(lambda: refuses(settings.management_port_https), 0.5)
    assert eventually(lambda: refuses(settings.communication_port), 0.5)
    assert eventually(lambda: sum(isinstance(e, ListenerFailed) for e in events) == 2)


def test_a_renewed_permit_keeps_servers_alive(
    ports: ServicePorts, permit: Permit, settings: Settings
) -> None:
    """Only the last deadline counts."""
    ports.open_all()
    pids = ports.pids()
    for _ in range(12):
        permit.grant(7, boottime_ns() + 2 * SECOND)
        time.sleep(0.2)  # the passing of time is what this test is about
    answer = get(settings.management_port_https)[0]

    assert answer == 200
    assert ports.pids() == pids


@pytest.mark.timed
def test_servers_end_at_the_deadline(ports: ServicePorts, permit: Permit) -> None:
    """A node that has hung does not need to do anything to stop serving."""
    ports.open_all()
    pids = ports.pids()
    with Pace() as pace:
        deadline = boottime_ns() + 400 * MILLISECOND
        permit.grant(7, deadline)
        gone = eventually(all_gone(pids))
        late = (boottime_ns() - deadline) / SECOND

    assert gone
    assert 0 <= late < pace.limit(LATEST_END_S)


def test_servers_of_an_earlier_epoch_end(ports: ServicePorts, permit: Permit) -> None:
    """A later grant is not theirs, although it is valid."""
    ports.open_all()
    pids = ports.pids()
    permit.grant(8, FOREVER)

    assert eventually(all_gone(pids), 1.0)


def test_ports_do_not_open_without_a_permit(
    ports: ServicePorts, permit: Permit, settings: Settings
) -> None:
    """An opening that comes after the lease was lost fails."""
    permit.revoke()

    with pytest.raises(ListenerError, match="ended by signal 9"):
        ports.open_all()

    assert eventually(lambda: refuses(settings.management_port_https), 0.5)
    assert eventually(lambda: refuses(settings.communication_port), 0.5)


def test_a_thawed_server_answers_nothing(
    ports: ServicePorts, permit: Permit, settings: Settings
) -> None:
    """Requests that waited in the sockets of a frozen server get no byte."""
    ports.open_all()
    pids = ports.pids()
    kept = tls_client(settings.management_port_https)
    send_request(kept)
    read_answer(kept)
    working = tls_client(settings.management_port_https)
    send_request(working, "/sleep/3")
    time.sleep(0.1)  # the server has taken that request by then
    for pid in pids.values():
        signal_group(pid, signal.SIGSTOP)
    permit.grant(7, boottime_ns() + 200 * MILLISECOND)
    send_request(kept)
    queued = socket.create_connection(("127.0.0.1", settings.management_port_https))
    assert eventually(lambda: not permit.valid(boottime_ns()))
    for pid in pids.values():
        signal_group(pid, signal.SIGCONT)

    clients = [kept, working, queued]
    assert [first_bytes(client) for client in clients] == [b"", b"", b""]
    assert eventually(all_gone(pids), 1.0)
    for client in clients:
        client.close()


def test_the_kernel_ends_a_frozen_server_at_its_deadline(
    ports: ServicePorts, permit: Permit, settings: Settings
) -> None:
    """Stopped processes are killed while they are stopped: none is left to thaw."""
    ports.open_all()
    pids = ports.pids()
    with Pace() as pace:
        deadline = boottime_ns() + 1500 * MILLISECOND
        permit.grant(7, deadline)
        time.sleep(0.2)  # the servers have seen the deadline by then
        for pid in pids.values():
            signal_group(pid, signal.SIGSTOP)
        alive_before = not all_gone(pids)()
        gone = eventually(all_gone(pids))
        refused = eventually(lambda: refuses(settings.management_port_https), 0.5)
        late = (boottime_ns() - deadline) / SECOND

    assert alive_before
    assert gone
    assert refused
    assert late < pace.limit(LATEST_END_S)


def test_a_download_is_cut_in_the_middle(
    ports: ServicePorts, permit: Permit, settings: Settings
) -> None:
    """A long answer does not go on after the right to give it has ended."""
    ports.open_all()
    client = tls_client(settings.management_port_https)
    send_request(client, "/stream")
    begun = client.recv(1000)
    permit.revoke()

    assert begun.startswith(b"HTTP/1.1 200")
    assert is_cut(client)
    client.close()


def first_bytes(client: socket.socket) -> bytes:
    """Read what a server says, if it says anything before it closes."""
    try:
        return client.recv(1000)
    except OSError:
        return b""
