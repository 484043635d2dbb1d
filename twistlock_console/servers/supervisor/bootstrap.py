"""Bootstrap of a service server's process, until it serves."""

import logging
import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.logs.setup import log_as_server
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.settings import Settings
from twistlock_console.system.processes import die_with_parent
from twistlock_console.system.serving_permit import Permit

log = logging.getLogger(__name__)


class ReadyPipe:
    """Reports to the node, once, that a server is ready or why it failed.

    *checks* is the server's end of the socket pair over which the node checks it.
    """

    def __init__(self, pipe: Connection, checks: socket.socket) -> None:
        self._pipe = pipe
        self.checks = checks

    def ready(self) -> None:
        """Report that the server answers now."""
        self._send("")

    def failed(self, reason: str) -> None:
        """Log and report *reason*, one sentence that says why the server ends."""
        log.error("%s", reason)
        self._send(reason)

    def _send(self, report: str) -> None:
        try:
            self._pipe.send(report)
        except OSError:
            # The node reads one report. A gunicorn worker that replaces another
            # makes a second one, which is not read.
            log.info("started again")


Serve = Callable[[Settings, Fence, ReadyPipe], None]
"""Serves until the process ends; calls ``ReadyPipe.ready`` when it answers."""

Prepare = Callable[[Settings], Serve]
"""Builds all that a server needs, but opens no port and no connection."""


def run_child(
    prepare: Prepare,
    settings: Settings,
    permit: Permit,
    pipe: Connection,
    gate: Connection,
    checks: socket.socket,
) -> None:
    """Prepare a server, wait until the node activates it, then serve.

    The kernel ends this process with its node, and from activation on a fence ends it
    with *permit* as well.

    Args:
        prepare: Builds the server.
        settings: The node's settings.
        permit: The node's right to serve.
        pipe: Takes one report, see `ReadyPipe`.
        gate: Yields a message when the node activates this process.
        checks: The server's end of the socket pair for checks.

    Raises:
        SystemExit: The server cannot serve; the reason was reported.

    """
    os.setsid()
    die_with_parent()
    _close_forkserver_pipe()
    log_as_server(settings, lambda: permit.epoch)
    report = ReadyPipe(pipe, checks)
    try:
        made_of, serve = _file_versions(settings), prepare(settings)
        if not _wait_for_activation(gate):
            return
        fence = Fence(permit, _node_sentinel())
        fence.watch(kernel_timer=True)
        if _file_versions(settings) != made_of:
            serve = prepare(settings)
        serve(settings, fence, report)
    except (ConsoleError, OSError) as error:
        report.failed(describe_error(error))
        raise SystemExit(1) from error
    except Exception as error:
        report.failed(f"the server cannot be prepared: {describe_error(error)}")
        raise


def _wait_for_activation(gate: Connection) -> bool:
    """Wait for the activation; return False if the node closed the gate or ended."""
    try:
        return bool(gate.recv())
    except (EOFError, OSError):
        return False


def _file_versions(settings: Settings) -> list[tuple[Path, int]]:
    """Return the certificates and secrets, each with its time of change in ns."""
    folders = (settings.folders.certificates, settings.folders.secrets)
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    return [(file, file.stat().st_mtime_ns) for file in files]


def _node_sentinel() -> int:
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a service server must be started by a node")
    return parent.sentinel


def _close_forkserver_pipe() -> None:
    # The fork server ends when no process holds this pipe any more. Children inherit
    # it; if we kept it, a dead node's servers would keep each other alive.
    server: Any = forkserver._forkserver
    os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = None
