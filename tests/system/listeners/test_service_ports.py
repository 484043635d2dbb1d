"""Opening and closing the service ports: what the manual promises, on real servers."""

import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.pace import Pace
from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    PATIENCE_S,
    get,
    group_of,
    is_cut,
    read_answer,
    refuses,
    send_request,
    signal_group,
    tls_client,
)
from tests.listeners.small_app import SLOW_S
from twistlock_console.common.errors import ListenerError
from twistlock_console.events.types import (
    ListenerClosed,
    ListenerFailed,
    ListenerOpened,
    ListenersPaused,
)
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor.sockets import bind
from twistlock_console.settings import Settings

MakePorts = Callable[..., ServicePorts]
GRACE_S = 60.0
"""So long that whoever waits for its end is told from all others."""


def all_ports(settings: Settings) -> list[int]:
    """The three service ports."""
    ui = settings.management_port_ui
    assert ui is not None
    return [settings.management_port_https, ui, settings.communication_port]


def is_busy(ports: ServicePorts) -> Callable[[], bool]:
    """Ask whether the management server works on a request."""

    def look() -> bool:
        ports.checks.run()
        load = ports.checks.loads.get("management")
        return load is not None and load.busy_threads > 0

    return look


def test_open_ports_answer_and_closed_ones_refuse(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> None:
    """open_all returns when the ports answer, close_all when all of them refuse."""
    ports.open_all()
    answers = [get(port)[0] for port in all_ports(settings)[:2]]
    was_open = ports.is_open
    pids = list(ports.pids().values())
    ports.close_all()

    assert answers == [200, 200]
    assert was_open
    assert not ports.is_open
    assert [refuses(port) for port in all_ports(settings)] == [True] * 3
    assert [group_of(pid) for pid in pids] == [[], []]
    assert [type(event) for event in events] == [
        ListenerOpened,
        ListenerOpened,
        ListenerClosed,
        ListenerClosed,
    ]


def test_opening_and_closing_twice_does_nothing(
    ports: ServicePorts, events: list[object]
) -> None:
    """Nobody needs to ask whether the ports are open before opening them."""
    ports.close_all()
    ports.open_all()
    pids = ports.pids()
    ports.open_all()

    assert ports.pids() == pids
    ports.close_all()
    ports.close_all()
    assert len(events) == 4


def test_the_same_ports_open_ten_times_in_a_row(
    ports: ServicePorts, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of the last time is in the way of the next, connections included."""
    caplog.set_level(logging.INFO, "twistlock_console.servers.service_ports")
    answers = []
    for _ in range(10):
        ports.open_all()
        left_open = tls_client(settings.management_port_https)
        answers.append(get(settings.management_port_https)[0])
        ports.close_all()
        left_open.close()

    assert answers == [200] * 10
    assert len([r for r in caplog.records if " opened in " in r.getMessage()]) == 20


def test_a_request_in_flight_is_cut_when_the_lease_is_lost(
    ports: ServicePorts, settings: Settings
) -> None:
    """A request that would take a minute does not keep a port open."""
    ports.open_all()
    client = tls_client(settings.management_port_https)
    send_request(client, "/sleep/60")
    with Pace() as pace:
        started = time.monotonic()
        ports.close_all()
        seconds = time.monotonic() - started

    assert is_cut(client)
    assert refuses(settings.management_port_https)
    assert seconds < pace.limit(1)
    client.close()


def test_idle_connections_are_cut_as_well(
    ports: ServicePorts, settings: Settings
) -> None:
    """An established connection, kept alive or silent, does not survive the close."""
    ports.open_all()
    kept = tls_client(settings.management_port_https)
    send_request(kept)
    read_answer(kept)
    silent = tls_client(settings.management_port_https)

    ports.close_all()

    assert [is_cut(kept), is_cut(silent)] == [True, True]
    kept.close()
    silent.close()


def test_a_planned_close_lets_a_request_finish(
    ports: ServicePorts, settings: Settings
) -> None:
    """The grace is for requests in flight: they are answered, new ones refused."""
    ports.open_all()
    client = tls_client(settings.management_port_https)
    send_request(client, "/sleep/1")
    assert eventually(is_busy(ports))
    closing = threading.Thread(target=ports.close_all, args=(GRACE_S,))
    started = time.monotonic()
    closing.start()
    refused = eventually(lambda: refuses(settings.management_port_https))
    waited = closing.is_alive()
    status, _ = read_answer(client)
    closing.join()

    assert refused
    assert waited
    assert status == 200
    assert time.monotonic() - started < GRACE_S / 2
    client.close()


def test_a_planned_close_does_not_wait_for_idle_connections(
    ports: ServicePorts, settings: Settings
) -> None:
    """A browser that keeps its connection open does not delay a handover."""
    ports.open_all()
    kept = tls_client(settings.management_port_https)
    send_request(kept)
    read_answer(kept)
    silent = tls_client(settings.management_port_https)
    started = time.monotonic()
    ports.close_all(grace=GRACE_S)

    assert time.monotonic() - started < GRACE_S / 2
    kept.close()
    silent.close()


def test_the_grace_has_an_end(ports: ServicePorts, settings: Settings) -> None:
    """A request longer than the grace is cut at its end."""
    ports.open_all()
    client = tls_client(settings.management_port_https)
    send_request(client, "/sleep/60")
    assert eventually(is_busy(ports))
    with Pace() as pace:
        started = time.monotonic()
        ports.close_all(grace=0.5)
        seconds = time.monotonic() - started

    assert is_cut(client)
    assert 0.5 <= seconds < pace.limit(1.5)
    client.close()


@pytest.mark.parametrize("name", ["management", "defenders"])
def test_a_server_that_ends_by_itself_is_opened_again_alone(
    ports: ServicePorts, events: list[object], settings: Settings, name: str
) -> None:
    """The node hears of it once, with the reason; the other server goes on."""
    ports.open_all()
    pids = ports.pids()
    pid = pids.pop(name)
    signal_group(pid, signal.SIGKILL)
    noticed = eventually(lambda: ports.closed() == (name,))
    heard = eventually(lambda: any(isinstance(e, ListenerFailed) for e in events))
    problem = ports.problem()
    ports.open_all()

    assert noticed
    assert heard
    failures = [event for event in events if isinstance(event, ListenerFailed)]
    assert failures == [ListenerFailed(name, f"{name} was ended by signal 9 (SIGKILL)")]
    assert problem == failures[0].reason
    assert ports.problem() is None
    assert ports.pids().items() >= pids.items()
    assert get(settings.management_port_https)[0] == 200


def test_ports_that_are_closed_to_be_reopened_have_not_failed(
    ports: ServicePorts, events: list[object]
) -> None:
    """Whoever decides about them hears why, when all of them refuse."""
    ports.open_all()
    events.clear()

    ports.reopen("the backup x takes effect")

    assert ports.pids() == {}
    assert [type(event) for event in events[:-1]] == [ListenerClosed] * 2
    assert events[-1] == ListenersPaused("the backup x takes effect")


def test_the_worker_goes_with_its_arbiter(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> None:
    """When only gunicorn's arbiter is killed, nobody is left on the ports."""
    ports.open_all()
    arbiter = ports.pids()["management"]
    workers = set(group_of(arbiter)) - {arbiter}
    client = tls_client(settings.management_port_https)
    os.kill(arbiter, signal.SIGKILL)

    assert len(workers) == 1
    assert eventually(lambda: group_of(arbiter) == [])
    assert eventually(lambda: refuses(settings.management_port_https))
    assert is_cut(client)
    client.close()


def test_a_worker_that_crashes_is_replaced(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> None:
    """A crash of the pages costs a moment, not the role; the new one is fenced too."""
    ports.open_all()
    arbiter = ports.pids()["management"]
    before = int(get(settings.management_port_https)[1])
    os.kill(before, signal.SIGKILL)
    after = int(get(settings.management_port_https)[1])

    assert after != before
    assert after in group_of(arbiter)
    assert not any(isinstance(event, ListenerFailed) for event in events)


def test_a_port_in_use_keeps_no_other_server_closed(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> None:
    """The error says which port it is; once it is free, that server opens as well."""
    taken = f"cannot listen on .*:{settings.communication_port}: Address already in use"
    # The other program goes on accepting.
    with bind(("127.0.0.1", settings.communication_port), 4096):
        with pytest.raises(ListenerError, match=taken):
            ports.open_all()

        assert get(settings.management_port_https)[0] == 200
        assert ports.closed() == ("defenders",)

    failures = [event for event in events if isinstance(event, ListenerFailed)]
    assert [failure.name for failure in failures] == ["defenders"]
    ports.open_all()
    assert ports.closed() == ()


def test_a_node_without_descriptors_says_so(ports: ServicePorts) -> None:
    """That is a reason like any other: it is told, and opening works later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    taken = [os.dup(0) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        with pytest.raises(ListenerError, match="too many open files"):
            ports.open_all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)

    ports.open_all()
    assert ports.closed() == ()


def test_pages_that_cannot_be_built_say_why(make_ports: MakePorts) -> None:
    """The reason reaches the node, not only the server's own log."""
    ports = make_ports("tests.listeners.small_app:broken")

    with pytest.raises(ListenerError, match="the pages cannot be built: "):
        ports.open_all()

    assert ports.closed() == ("management",)


def test_closing_ends_an_opening_that_another_thread_waits_for(
    make_ports: MakePorts, settings: Settings
) -> None:
    """A lease that is lost while the ports open does not have to wait for them."""
    ports = make_ports("tests.listeners.small_app:slow")
    failures: list[ListenerError] = []

    def open_them() -> None:
        try:
            ports.open_all()
        except ListenerError as error:
            failures.append(error)

    opening = threading.Thread(target=open_them)
    opening.start()
    assert eventually(lambda: not refuses(settings.communication_port))
    started = time.monotonic()
    ports.close_all()
    seconds = time.monotonic() - started
    opening.join()

    assert seconds < SLOW_S / 2
    assert len(failures) == 1
    assert [refuses(port) for port in all_ports(settings)] == [True] * 3


def test_the_port_of_the_pages_has_no_api(
    ports: ServicePorts, settings: Settings
) -> None:
    """8443 shows pages and answers pings; the API is on 8083."""
    ports.open_all()
    api, pages, _ = all_ports(settings)

    assert get(pages, "/api/v1/users")[0] == 404
    assert get(pages, "/api/v1/_ping")[0] == 200
    assert get(pages, "/apiary")[0] == 200
    assert get(api, "/api/v1/users")[0] == 200


@pytest.mark.parametrize("place", [0, 1])
def test_plain_http_is_sent_on_to_https(
    ports: ServicePorts, settings: Settings, place: int
) -> None:
    """Once, to the same host, port and path; then the connection ends."""
    ports.open_all()
    port = all_ports(settings)[place]
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(f"GET /a?b=c HTTP/1.1\r\nHost: here:{port}\r\n\r\n".encode())
        answer = client.recv(1000)
        ended = is_cut(client)

    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert f"\r\nLocation: https://here:{port}/a?b=c\r\n".encode() in answer
    assert ended
