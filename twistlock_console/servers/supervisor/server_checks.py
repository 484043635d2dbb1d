"""Health checks of the node's own servers, over socket pairs that no client can reach.

A server answers each check twice: its main loop at once, and a thread that is reserved
for checks once the database has answered. So neither a full thread pool nor a full
connection table delays a check, and the node can distinguish a server that hangs from
a database that hangs. A server that is only busy passes its checks; its load is
reported.
"""

import json
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol, cast

from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.request_limits import ServerLoad

MAX_MESSAGE_BYTES = 4096
CHECK_TIMEOUT_S = 2.0
#: Failed checks in a row after which a server is ended.
MAX_FAILED_CHECKS = 3
#: Checks in a row in which a server was full, after which that is reported.
MIN_FULL_CHECKS = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check: *problem* is empty if the server works.

    *load* is what its main loop reported, None if that did not answer.
    """

    problem: str = ""
    load: ServerLoad | None = None


def make_check_pair() -> tuple[socket.socket, socket.socket]:
    """Return the node's end and the server's end; raises OSError."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class CheckClient:
    """The node's end of the socket pair, which any thread may use."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end.detach()
        self._number = 0
        self._turn = threading.Lock()

    def ask(self, seconds: float, *, database: bool = True) -> CheckResult:
        """Check the server; wait *seconds* at most.

        Args:
            seconds: How long the server has to answer.
            database: Also wait until the server's database has answered. Without
                it a check that another thread makes at the moment is enough.

        """
        if not self._turn.acquire(blocking=database):
            return CheckResult()
        try:
            return self._ask(seconds, database=database)
        finally:
            self._turn.release()

    def _ask(self, seconds: float, *, database: bool) -> CheckResult:
        self._number += 1
        deadline = boottime_ns() + round(seconds * SECOND)
        load: ServerLoad | None = None
        try:
            self._send()
            while answer := self._receive(deadline):
                if answer.get("number") != self._number:
                    continue
                if "load" in answer:
                    load = ServerLoad(**cast(dict[str, int], answer["load"]))
                    if not database:
                        return CheckResult(load=load)
                else:
                    return CheckResult(str(answer["problem"]), load)
        except OSError as error:
            return CheckResult(f"its check failed: {describe_error(error)}", load)
        what = "its database does not answer" if load else "its main loop hangs"
        return CheckResult(f"{what} (no answer within {seconds:g} s)", load)

    def __del__(self) -> None:
        """Close the node's end, of a server that never opened or has ended."""
        os.close(self._end)

    def _send(self) -> None:
        os.write(self._end, json.dumps({"number": self._number}).encode())

    def _receive(self, deadline: int) -> dict[str, object] | None:
        """Return the next message; None at *deadline* (ns of the boot-time clock)."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        left = max(deadline - boottime_ns(), 0)
        if not poll.poll(left // MILLISECOND + 1):
            return None
        message = os.read(self._end, MAX_MESSAGE_BYTES)
        if not message:
            raise ConnectionResetError("its process ended")
        answer: dict[str, object] = json.loads(message)
        return answer


class CheckResponder:
    """The server's end of the socket pair; the main loop calls it.

    It starts one thread for *probe*, which queries the database and returns a problem
    or an empty text. Create it after any fork. *load* returns how busy the server is.
    """

    def __init__(
        self,
        end: socket.socket,
        probe: Callable[[], str],
        load: Callable[[], ServerLoad],
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._probe = probe
        self._load = load
        self._wanted = threading.Semaphore(0)
        self._number = 0
        self._probing = False
        threading.Thread(target=self._run, name="check", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor on which checks arrive."""
        return self._end.fileno()

    def on_readable(self, _end: object = None) -> None:
        """Answer a check for the main loop, and start the probe of the database."""
        try:
            message = self._end.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        if not message:
            return
        self._number = json.loads(message)["number"]
        self._send({"number": self._number, "load": asdict(self._load())})
        if not self._probing:
            self._probing = True
            self._wanted.release()

    def _run(self) -> None:
        while self._wanted.acquire():
            try:
                problem = self._probe()
            except Exception as error:
                log.exception("the check of this server failed")
                problem = f"the check failed: {describe_error(error)}"
            self._probing = False
            self._send({"number": self._number, "problem": problem})

    def _send(self, answer: dict[str, object]) -> None:
        # The node may have given up on this check; it will send another.
        with suppress(OSError):
            self._end.send(json.dumps(answer).encode())


class CheckedServer(Protocol):
    """A server that can be checked and ended while it runs."""

    name: str

    @property
    def pid(self) -> int | None:
        """Return the id of the server's process, None while it is closed."""

    def check(self, seconds: float, *, database: bool = True) -> CheckResult | None:
        """Check the server within *seconds*; return None if it does not run."""

    def fail(self, reason: str) -> None:
        """End a server that runs and does not work, and report *reason*."""


class ServerChecks:
    """Checks *listeners* periodically; one thread at a time may call ``run``.

    A server whose main loop hangs is ended. One whose database does not answer is
    ended only if *ends_without_database*, where another node can serve instead.
    *loads* maps the name of a server to the load that it last reported; any thread may
    read it.
    """

    def __init__(self, listeners: Sequence[CheckedServer]) -> None:
        self._listeners = listeners
        self._failed: dict[int, int] = {}
        self._full: dict[str, int] = {}
        self.ends_without_database = False
        self.loads: dict[str, ServerLoad] = {}

    def run(self) -> None:
        """Check each server that runs; end one that failed too often in a row."""
        running = {listener.pid for listener in self._listeners}
        self._failed = {p: n for p, n in self._failed.items() if p in running}
        for listener in self._listeners:
            self._check(listener)

    def require_answers(self) -> None:
        """End each server whose main loop does not answer one check.

        Its database is not asked: a server may open before its database answers.
        """
        for listener in self._listeners:
            result = listener.check(CHECK_TIMEOUT_S, database=False)
            if result and result.problem:
                listener.fail(f"{listener.name} opened, but {result.problem}")

    def overload(self) -> str | None:
        """Return which servers were at their limits in each of the last checks."""
        full = [
            _at_its_limits(name, load)
            for name, load in self.loads.items()
            if self._full.get(name, 0) >= MIN_FULL_CHECKS
        ]
        return "; ".join(full) or None

    def _check(self, listener: CheckedServer) -> None:
        pid, result = listener.pid, listener.check(CHECK_TIMEOUT_S)
        loads = dict(self.loads)
        loads.pop(listener.name, None)
        if result and result.load:
            loads[listener.name] = result.load
        # Other threads read it, so it is replaced as a whole.
        self.loads = loads
        is_full = bool(result and result.load and result.load.is_full)
        count = self._full.get(listener.name, 0)
        self._full[listener.name] = count + 1 if is_full else 0
        if result and pid:
            self._count(listener, pid, result)

    def _count(self, listener: CheckedServer, pid: int, result: CheckResult) -> None:
        name, problem = listener.name, result.problem
        if not problem:
            if self._failed.pop(pid, 0):
                log.info("%s passes its check again", name)
            return
        count = self._failed[pid] = self._failed.get(pid, 0) + 1
        if count <= MAX_FAILED_CHECKS:
            log.warning("%s failed its check (%d in a row): %s", name, count, problem)
        ends = result.load is None or self.ends_without_database
        if count >= MAX_FAILED_CHECKS and ends:
            listener.fail(f"{name} failed {count} checks in a row: {problem}")


def _at_its_limits(name: str, load: ServerLoad) -> str:
    threads = (
        f"{load.busy_threads} of {load.threads} threads are busy, "
        f"{load.waiting_requests} requests wait, "
    )
    return (
        f"the {name} server is at its limits: {threads if load.threads else ''}"
        f"{load.connections} of {load.max_connections} connections are in use"
    )
