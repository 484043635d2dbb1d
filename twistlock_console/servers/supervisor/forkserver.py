"""The fork server: a process with all modules imported, which forks the servers.

A fork takes milliseconds. It is the "forkserver" of Python's multiprocessing. It holds
no port and no connection, and it ends when the node process does, because the pipe
between them closes.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

context = get_context("forkserver")
"""The multiprocessing context in which every service server is started."""

MODULES = (
    "twistlock_console.servers.supervisor.forkserver_preload",
    "twistlock_console.servers.management.server",
    "twistlock_console.servers.defenders.server",
    "gunicorn.arbiter",
    "flask",
    "pymongo",
    "wsgi",
)
"""Modules that the fork server imports before it forks a server.

``wsgi`` brings the pages and those of all plugins.
"""


def start(modules: Sequence[str] = MODULES, *, wait: float = 0.0) -> None:
    """Start the fork server, unless it runs.

    Call it once, from the main thread, when the node starts: importing takes about
    half a second of another core, and nothing needs to wait for it.

    Args:
        modules: What it imports.
        wait: Seconds to wait until it has imported them.

    """
    context.set_forkserver_preload(list(modules))
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(_import_paths())
    try:
        forkserver.ensure_running()
    finally:
        _restore("PYTHONPATH", path)
    if wait:
        probe = context.Process(target=_nothing, daemon=True)
        probe.start()
        probe.join(wait)


def stop() -> None:
    """Kill the fork server and all servers; the next opening starts another."""
    server: Any = forkserver._forkserver
    if pid := server._forkserver_pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def read_cpu_ticks() -> int:
    """Return the processor time that the fork server has taken; 0 if there is none."""
    server: Any = forkserver._forkserver
    try:
        stat = Path(f"/proc/{server._forkserver_pid}/stat").read_text()
    except OSError:
        return 0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def _import_paths() -> list[str]:
    # Python 3.11 does not hand sys.path to the fork server, and a module that it
    # cannot find it skips without an error: the servers would start slowly.
    return [str(Path(entry).resolve()) for entry in sys.path if Path(entry).is_dir()]


def _restore(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def _nothing() -> None:
    """Do nothing; the end of this process shows that the fork server works."""
