"""A process with everything imported, from which servers are forked in milliseconds.

The interpreter's own "forkserver" does it. It holds no port and no connection, and it
ends when the node process does, because the pipe between them closes.
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
"""The way in which every service server is started."""

MODULES = (
    "twistlock_console.servers.supervisor.forkserver_preload",
    "twistlock_console.servers.management.server",
    "twistlock_console.servers.defenders.server",
    "gunicorn.arbiter",
    "flask",
    "pymongo",
    "wsgi",
)
"""What the servers import, for the warm process to import before them.

``wsgi`` brings the pages and those of all plugins.
"""


def start(modules: Sequence[str] = MODULES, *, wait: float = 0.0) -> None:
    """Start the warm process, unless it runs; give it *wait* s to finish importing.

    Call it once, from the main thread, when the node starts: importing takes about
    half a second of another core, and nothing needs to wait for it.
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


def end() -> None:
    """Kill the warm process, and with it all servers; opening starts another."""
    server: Any = forkserver._forkserver
    if pid := server._forkserver_pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _import_paths() -> list[str]:
    # Python 3.11 does not hand sys.path to the fork server, and a module that it
    # cannot find it passes over in silence: the servers would start cold.
    return [str(Path(entry).resolve()) for entry in sys.path if Path(entry).is_dir()]


def _restore(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def _nothing() -> None:
    """Prove by ending that the warm process has begun to serve."""
