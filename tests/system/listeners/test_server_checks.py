"""The node's check of its servers: busy is not broken, and what is broken is ended."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    PATIENCE_S,
    get,
    group_of,
    send_request,
    tls_client,
)
from tests.listeners.small_app import HELD
from twistlock_console.events.types import ListenerFailed
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor import server_checks
from twistlock_console.servers.supervisor.server_checks import MAX_FAILED_CHECKS
from twistlock_console.settings import Settings

MakePorts = Callable[..., ServicePorts]
MORE_THAN_THREADS = 30


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that a hung server fails sooner than it does outside tests."""
    monkeypatch.setattr(server_checks, "CHECK_TIMEOUT_S", 0.5)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


def failures(events: list[object]) -> list[ListenerFailed]:
    """The failures that were published."""
    return [event for event in events if isinstance(event, ListenerFailed)]


def test_a_server_whose_threads_are_all_busy_passes_its_check(
    ports: ServicePorts, settings: Settings, events: list[object], stack: ExitStack
) -> None:
    """However often it is checked; that it is full is reported."""
    ports.open_all()
    port = settings.management_port_https
    for number in range(MORE_THAN_THREADS):
        source = f"127.0.0.{3 + number % 2}"
        client = stack.enter_context(tls_client(port, source=source))
        send_request(client, HELD)

    def is_reported() -> bool:
        ports.checks.run()
        return bool(ports.checks.overload())

    assert eventually(is_reported)
    for _ in range(MAX_FAILED_CHECKS + 1):
        ports.checks.run()

    assert failures(events) == []
    assert str(ports.checks.overload()).startswith(
        "the management server is at its limits: 16 of 16 threads are busy, "
    )


def test_a_server_that_works_passes_its_check(
    ports: ServicePorts, events: list[object]
) -> None:
    """And says how busy it is."""
    ports.open_all()
    ports.checks.run()
    load = ports.checks.loads["management"]
    ports.close_all()
    ports.checks.run()

    assert (load.threads, load.busy_threads, load.is_full) == (16, 0, False)
    assert ports.checks.overload() is None
    assert ports.checks.loads == {}
    assert failures(events) == []


@pytest.mark.parametrize("name", ["management", "defenders"])
def test_a_server_whose_main_loop_hangs_is_ended_alone(
    ports: ServicePorts,
    settings: Settings,
    events: list[object],
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """After some checks in a row; opened again it serves, and the other went on."""
    ports.open_all()
    before = ports.pids()
    (other,) = before.keys() - {name}
    # The management server's main loop is in a worker.
    pids = set(group_of(before[name])) - {before["management"]}
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(MAX_FAILED_CHECKS):
        assert failures(events) == []
        ports.checks.run()

    reason = (
        f"{name} failed {MAX_FAILED_CHECKS} checks in a row: "
        "its main loop hangs (no answer within 0.5 s)"
    )
    assert len(pids) == 1
    assert failures(events) == [ListenerFailed(name, reason)]
    assert ports.closed() == (name,)
    monkeypatch.setattr(server_checks, "CHECK_TIMEOUT_S", PATIENCE_S)
    ports.open_all()
    ports.checks.run()
    assert get(settings.management_port_https)[0] == 200
    assert ports.checks.loads.keys() == before.keys()
    assert ports.pids()[other] == before[other]
    assert len(failures(events)) == 1


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (
            "tests.listeners.small_app:without_database",
            "its database does not answer (503 Service Unavailable)",
        ),
        (
            "tests.listeners.small_app:hung_database",
            "its database does not answer (no answer within 0.5 s)",
        ),
    ],
)
def test_a_server_whose_database_does_not_answer_is_ended(
    make_ports: MakePorts,
    events: list[object],
    factory: str,
    problem: str,
    impatient: None,
) -> None:
    """It opens all the same, since a database may need a moment; then it counts."""
    ports = make_ports(factory)
    ports.checks.ends_without_database = True
    ports.open_all()
    ports.checks.require_answers()
    opened = ports.closed()
    for _ in range(MAX_FAILED_CHECKS):
        ports.checks.run()

    assert opened == ()
    reason = f"management failed {MAX_FAILED_CHECKS} checks in a row: {problem}"
    assert failures(events) == [ListenerFailed("management", reason)]
    assert ports.closed() == ("management",)


def test_a_server_without_a_database_goes_on_where_no_other_node_is(
    make_ports: MakePorts, events: list[object]
) -> None:
    """Its pages say that the database does not answer; to end it would help nobody."""
    ports = make_ports("tests.listeners.small_app:without_database")
    ports.open_all()
    for _ in range(MAX_FAILED_CHECKS + 1):
        ports.checks.run()

    assert failures(events) == []
    assert ports.closed() == ()


def test_a_server_that_hangs_when_it_opens_is_ended_at_once(
    ports: ServicePorts,
    events: list[object],
    impatient: None,
) -> None:
    """Its ports accept, so only a check can tell."""
    ports.open_all()
    arbiter = ports.pids()["management"]
    for pid in group_of(arbiter):
        os.kill(pid, signal.SIGSTOP)
    ports.checks.require_answers()

    assert [failure.reason for failure in failures(events)] == [
        "management opened, but its main loop hangs (no answer within 0.5 s)"
    ]
    assert ports.closed() == ("management",)


def test_the_worker_that_replaces_another_is_checked(
    ports: ServicePorts, settings: Settings, events: list[object]
) -> None:
    """It answers on the same socket pair as the one that crashed."""
    ports.open_all()
    ports.checks.run()
    os.kill(int(get(settings.management_port_https)[1]), signal.SIGKILL)
    get(settings.management_port_https)
    for _ in range(MAX_FAILED_CHECKS):
        ports.checks.run()

    assert ports.checks.loads.keys() == {"management", "defenders"}
    assert failures(events) == []
