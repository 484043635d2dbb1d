"""The repeated check of the servers that run: end one that does not work.

A server that is busy answers its checks and is left alone; its load is reported.
"""

import logging
from collections.abc import Sequence

from twistlock_console.common.request_limits import ServerLoad
from twistlock_console.servers.supervisor.check_channel import CheckResult
from twistlock_console.servers.supervisor.child_listener import Listener

CHECK_TIMEOUT_S = 2.0
#: Failed checks in a row after which a server is ended.
MAX_FAILED_CHECKS = 3
#: Checks in a row in which a server was full, after which that is reported.
MIN_FULL_CHECKS = 3
log = logging.getLogger(__name__)


class ServerChecks:
    """Checks *listeners*; one thread at a time may call ``run``.

    A server whose main loop hangs is ended. One whose database does not answer is
    ended only if *ends_without_database*: where another node can take over.
    *loads* maps the name of a server to the load that it last reported.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
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
        """Say which servers were at their limits in the last checks, all of them."""
        full = [
            _at_its_limits(name, load)
            for name, load in self.loads.items()
            if self._full.get(name, 0) >= MIN_FULL_CHECKS
        ]
        return "; ".join(full) or None

    def _check(self, listener: Listener) -> None:
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

    def _count(self, listener: Listener, pid: int, result: CheckResult) -> None:
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
