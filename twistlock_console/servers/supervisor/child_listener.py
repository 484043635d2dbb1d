"""A listener that runs as a child process: opened, supervised and closed."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.supervisor.server_checks import (
    CheckClient,
    CheckedServer,
    CheckResult,
)
from twistlock_console.servers.supervisor.server_process import (
    ServerProcess,
    ServerSpec,
    StandbyGone,
    StandbyProcess,
)
from twistlock_console.servers.supervisor.sockets import wait_until
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit

OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
REAP_TIMEOUT_S = 1.0


class Listener(CheckedServer, Protocol):
    """A server on some ports. Opening and closing are idempotent."""

    def prepare(self) -> None:
        """Start a standby process for a quick opening. Raises ListenerError."""

    def open(self) -> None:
        """Start to serve; return when the ports accept. Raises ListenerError."""

    def close(self, grace: float = 0.0) -> None:
        """Close every connection after *grace* s; return when the ports refuse."""


class ChildListener:
    """Runs *server* as a child process, forked from the fork server, while it is open.

    It is the supervisor of that process: *on_failure* is called once, with the name
    and a reason, when an open server ends without having been closed. The call comes
    from the thread that watches the process, or from the thread that calls ``fail``.
    """

    def __init__(
        self,
        server: ServerSpec,
        settings: Settings,
        permit: Permit,
        on_failure: Callable[[str, str], None],
    ) -> None:
        self.name = server.name
        self._server = server
        self._settings = settings
        self._permit = permit
        self._on_failure = on_failure
        self._operation_lock = threading.Lock()
        self._state = threading.Lock()
        self._standby_process: StandbyProcess | None = None
        self._opening_process: ServerProcess | None = None
        self._process: ServerProcess | None = None
        self._ending_process: ServerProcess | None = None
        self._checks: CheckClient | None = None

    @property
    def pid(self) -> int | None:
        """Return the id of the group's leading process, None while it is closed."""
        process = self._process
        return process.pid if process else None

    def prepare(self) -> None:
        """Start a standby process, which holds no port, while the server is closed.

        Does nothing while another thread opens or closes. Raises ListenerError.
        """
        if not self._operation_lock.acquire(blocking=False):
            return
        try:
            if self._process is None:
                self._standby_process = self._standby()
        finally:
            self._operation_lock.release()

    def open(self) -> None:
        """Start the server; return when its ports accept. Raises ListenerError."""
        with self._operation_lock:
            if self._process:
                return
            # If another program has the port now, the next step names it.
            with suppress(ListenerError):
                self._kill_last()
            standby, self._standby_process = self._standby(), None
            try:
                self._activate(standby)
            except StandbyGone:
                self._activate(self._standby())

    def _activate(self, standby: StandbyProcess) -> None:
        process = self._opening_process = standby.process
        try:
            standby.activate(OPEN_TIMEOUT_S)
            self._mark_open(process, standby.checks)
        except ListenerError:
            # Another program on the port still accepts: that must not hide the error.
            process.kill()
            if not process.ended.wait(REAP_TIMEOUT_S):
                wait_until(False, self._server.addresses, CLOSE_TIMEOUT_S)
            raise
        finally:
            self._opening_process = None

    def _standby(self) -> StandbyProcess:
        if self._standby_process and not self._standby_process.process.ended.is_set():
            return self._standby_process
        return StandbyProcess(self._server, self._settings, self._permit, self._on_end)

    def close(self, grace: float = 0.0) -> None:
        """Let requests finish for *grace* s at most, then close every connection.

        Returns when the ports refuse; raises ListenerError if they do not. It may be
        called while another thread opens, which then fails.
        """
        if opening := self._opening_process:
            opening.kill()
        if not self._operation_lock.acquire(timeout=OPEN_TIMEOUT_S + CLOSE_TIMEOUT_S):
            raise ListenerError(f"{self.name} is stuck while opening")
        try:
            if (process := self._release_process()) and grace > 0:
                process.terminate()
                process.ended.wait(grace)
            self._kill_last()
        finally:
            self._operation_lock.release()

    def check(self, seconds: float, *, database: bool = True) -> CheckResult | None:
        """Check the server; return None if it does not run.

        One thread at a time may do this.
        """
        with self._state:
            checks = self._checks if self._process else None
        return checks.ask(seconds, database=database) if checks else None

    def fail(self, reason: str) -> None:
        """End a server that runs and does not work; *on_failure* gets *reason*.

        Does nothing while another thread opens or closes.
        """
        if not self._operation_lock.acquire(blocking=False):
            return
        try:
            process = self._release_process()
            with suppress(ListenerError):
                self._kill_last()
        finally:
            self._operation_lock.release()
        if process:
            self._on_failure(self.name, reason)

    def _release_process(self) -> ServerProcess | None:
        """Return the running process; its end is no failure from now on."""
        with self._state:
            process, self._process = self._process, None
            # A process that could not be killed is killed by the next call.
            self._ending_process = process or self._ending_process
            return process

    def _kill_last(self) -> None:
        if self._ending_process:
            self._kill_and_wait(self._ending_process)
        self._ending_process = None

    def _mark_open(self, process: ServerProcess, checks: CheckClient) -> None:
        # A host without IPv6 is served over IPv4 alone.
        expected = [each for each in self._server.addresses if ":" not in each[0]]
        if not wait_until(True, expected, OPEN_TIMEOUT_S):
            raise ListenerError(f"{self.name} reported ready, but its ports refuse")
        with self._state:
            if process.ended.is_set():
                raise ListenerError(f"{self.name} {process.exit_reason()}")
            self._process = process
            self._checks = checks

    def _kill_and_wait(self, process: ServerProcess) -> None:
        process.kill()
        # The fork server reports its end; if that hangs, the ports still count.
        process.ended.wait(REAP_TIMEOUT_S)
        if not wait_until(False, self._server.addresses, CLOSE_TIMEOUT_S):
            raise ListenerError(f"{self.name} was killed, but its ports still accept")

    def _on_end(self, process: ServerProcess) -> None:
        with self._state:
            unexpected = process is self._process
            if unexpected:
                self._process, self._ending_process = None, process
        if unexpected:
            self._on_failure(self.name, f"{self.name} {process.exit_reason()}")
