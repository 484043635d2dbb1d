"""The warm process has imported what the servers need, and nothing it should not."""

import gc
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from listener_clients import until

from twistlock_console.errors import ListenerError
from twistlock_console.listeners import warm
from twistlock_console.listeners.ports import ServicePorts


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
        "gunicorn.workers.gthread",
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
    warm.end()
    noticed = until(lambda: ports.pids() == {})
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


def test_opening_leaves_nothing_behind_in_the_node(ports: ServicePorts) -> None:
    """A node that changes its role for years does not run out of descriptors."""
    counts = []
    for _ in range(3):
        ports.open_all()
        ports.close_all()
        gc.collect()
        counts.append(len(list(Path("/proc/self/fd").iterdir())))

    assert counts[2] <= counts[0]
