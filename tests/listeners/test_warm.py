"""The warm process has imported what the servers need, and nothing it should not."""

import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

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
    assert "__mp_main__" not in modules
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
