"""The warm process has imported what the servers need, and nothing it should not."""

import gc
import os
import signal
import ssl
import sys
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import is_alive, refuses, tls_client
from twistlock_console.common.errors import ListenerError
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.identity_files import NODE
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor import forkserver as warm
from twistlock_console.servers.supervisor import server_process
from twistlock_console.settings import Settings


def tell_modules(pipe: Connection) -> None:
    """Tell what was imported before the child began its work."""
    pipe.send(sorted(sys.modules))


def test_servers_find_everything_imported(warm_process: None) -> None:
    """A module that is missing here is imported at each opening, in silence."""
    ours, theirs = warm.context.Pipe(duplex=False)
    child = warm.context.Process(target=tell_modules, args=(theirs,))
    child.start()
    modules = set(ours.recv())
    child.join()

    assert {
        "flask",
        "gunicorn.workers.base",
        "pymongo",
        "twistlock_console.web.app",
        "websockets.asyncio.server",
        "wsgi",
    } <= modules
    for pipe in (ours, theirs):
        pipe.close()


def test_the_warm_process_holds_no_port(ports: ServicePorts) -> None:
    """Were it to hold one, the port would stay open when its server is gone."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    before = tcp_sockets(server)
    ports.open_all()

    assert before == set()
    assert tcp_sockets(server) == set()
    assert tcp_sockets(ports.pids()["management"]) != set()


def tcp_sockets(pid: int) -> set[str]:
    """The listening or connected TCP sockets that a process holds."""
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # A process that starts closes files meanwhile.
        with suppress(FileNotFoundError):
            links.add(str(descriptor.readlink()))
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return links & {f"socket:[{line.split()[9]}]" for line in table}


def test_starting_it_twice_does_nothing(warm_process: None) -> None:
    """The second start finds the first one's process."""
    first = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    warm.start()

    assert forkserver._forkserver._forkserver_pid == first  # type: ignore[attr-defined]


def test_ports_open_again_when_the_warm_process_was_killed(
    ports: ServicePorts,
) -> None:
    """Its servers go with it; the next opening is slower, and that is all."""
    ports.open_all()
    warm.stop()
    noticed = eventually(lambda: ports.pids() == {})
    ports.close_all()
    ports.open_all()

    assert noticed
    assert ports.is_open


def test_a_warm_process_that_hangs_is_replaced(ports: ServicePorts) -> None:
    """Opening fails in time, closing works meanwhile, and then all is well again."""
    ports.open_all()
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGSTOP)
    ports.close_all()
    with pytest.raises(ListenerError, match="cannot be started"):
        ports.open_all()
    ports.open_all()

    assert ports.is_open


def test_a_warm_process_that_still_imports_is_no_hung_one(
    ports: ServicePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy host that takes longer than a server may hang."""
    monkeypatch.setattr(server_process, "START_TIMEOUT_S", 0.2)
    ports.open_all()
    warm.stop()
    assert eventually(lambda: ports.pids() == {})
    ports.open_all()

    assert ports.is_open


def test_a_spare_process_holds_no_port_and_becomes_the_server(
    ports: ServicePorts, settings: Settings
) -> None:
    """What is made in advance must not be open in advance: a closed port refuses."""
    ports.prepare()
    # Another test's may still be on its way out.
    assert eventually(lambda: len(spares()) == 2)
    waiting = spares()
    held = [tcp_sockets(pid) for pid in waiting]
    refused = refuses(settings.management_port_https)
    ports.open_all()

    assert held == [set(), set()]
    assert refused
    assert set(ports.pids().values()) == waiting


def test_a_spare_that_died_is_replaced(ports: ServicePorts) -> None:
    """Opening then takes longer, and that is all."""
    ports.prepare()
    for pid in spares():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: spares() == set())
    ports.open_all()

    assert ports.is_open


def test_a_spare_is_not_made_of_what_was_renewed_since(
    ports: ServicePorts, settings: Settings
) -> None:
    """It was made while another certificate was there."""
    ports.prepare()
    assert eventually(lambda: len(spares()) == 2)
    issue_node_certificate(settings.folders.certificates, ["127.0.0.1", "localhost"])
    ports.open_all()
    with tls_client(settings.management_port_https) as client:
        shown = client.getpeercert(binary_form=True)

    renewed = (settings.folders.certificates / NODE).read_text()
    assert shown == ssl.PEM_cert_to_DER_cert(renewed)


def spares() -> set[int]:
    """The children of the warm process: servers, and those that wait to be one."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return {int(pid) for pid in children if is_alive(int(pid))}


def test_opening_leaves_nothing_behind_in_the_node(ports: ServicePorts) -> None:
    """A node that changes its role for years does not run out of descriptors."""
    counts = []
    for _ in range(3):
        ports.open_all()
        ports.close_all()
        gc.collect()
        counts.append(len(list(Path("/proc/self/fd").iterdir())))

    assert counts[2] <= counts[0]
