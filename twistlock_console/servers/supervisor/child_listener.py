"""A listener that is a child process: what the node opens and closes."""

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

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0
REAP_SECONDS = 1.0


class Listener(CheckedServer, Protocol):
    """A server on some ports. Opening twice, or closing twice, does nothing."""

    def prepare(self) -> None:
        """Make ready to open quickly; changes nothing else. Raises ListenerError."""

    def open(self) -> None:
        """Begin to serve; return when the ports accept. Raises ListenerError."""

    def close(self, grace: float = 0.0) -> None:
        """Cut every connection after *grace* s; return when the ports refuse."""


class ChildListener:
    """Runs a *server* as a warm child process while it is open.

    *on_failure* is called with the name and a reason, on a thread of our own and
    once, when an open server ends without having been closed.
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
        self._turn = threading.Lock()
        self._state = threading.Lock()
        self._waiting: StandbyProcess | None = None
        self._opening: ServerProcess | None = None
        self._process: ServerProcess | None = None
        self._ending: ServerProcess | None = None
        self._checks: CheckClient | None = None

    @property
    def pid(self) -> int | None:
        """Return the leader of the process group, None while it is closed."""
        process = self._process
        return process.pid if process else None

    def prepare(self) -> None:
        """While it is closed, have a standby process wait; it holds no port.

        Does nothing while another thread opens or closes. Raises ListenerError.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._process is None:
                self._waiting = self._standby()
        finally:
            self._turn.release()

    def open(self) -> None:
        """Start the server; return when its ports accept. Raises ListenerError."""
        with self._turn:
            if self._process:
                return
            # Another program that has the port now is named by the next step.
            with suppress(ListenerError):
                self._kill_last()
            standby, self._waiting = self._standby(), None
            try:
                self._activate(standby)
            except StandbyGone:
                self._activate(self._standby())

    def _activate(self, standby: StandbyProcess) -> None:
        process = self._opening = standby.process
        try:
            standby.activate(OPEN_SECONDS)
            self._mark_open(process, standby.checks)
        except ListenerError:
            # Another program on the port still accepts: that must not hide the error.
            process.kill()
            if not process.ended.wait(REAP_SECONDS):
                wait_until(False, self._server.addresses, CLOSE_SECONDS)
            raise
        finally:
            self._opening = None

    def _standby(self) -> StandbyProcess:
        if self._waiting and not self._waiting.process.ended.is_set():
            return self._waiting
        return StandbyProcess(self._server, self._settings, self._permit, self._on_end)

    def close(self, grace: float = 0.0) -> None:
        """Let requests finish for *grace* s at most, then cut every connection.

        Returns when the ports refuse; raises ListenerError if they do not. It may be
        called while another thread opens, which then fails.
        """
        if opening := self._opening:
            opening.kill()
        if not self._turn.acquire(timeout=OPEN_SECONDS + CLOSE_SECONDS):
            raise ListenerError(f"{self.name} is stuck while opening")
        try:
            if (process := self._release_process()) and grace > 0:
                process.terminate()
                process.ended.wait(grace)
            self._kill_last()
        finally:
            self._turn.release()

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
        if not self._turn.acquire(blocking=False):
            return
        try:
            process = self._release_process()
            with suppress(ListenerError):
                self._kill_last()
        finally:
            self._turn.release()
        if process:
            self._on_failure(self.name, reason)

    def _release_process(self) -> ServerProcess | None:
        """Return the process that runs, whose end is expected from now on."""
        with self._state:
            process, self._process = self._process, None
            # One that would not close is tried again by the next call.
            self._ending = process or self._ending
            return process

    def _kill_last(self) -> None:
        if self._ending:
            self._kill_and_wait(self._ending)
        self._ending = None

    def _mark_open(self, process: ServerProcess, checks: CheckClient) -> None:
        # Hosts without IPv6 are served without; who has it finds it open as well.
        expected = [each for each in self._server.addresses if ":" not in each[0]]
        if not wait_until(True, expected, OPEN_SECONDS):
            raise ListenerError(f"{self.name} says it listens, but it does not")
        with self._state:
            if process.ended.is_set():
                raise ListenerError(f"{self.name} {process.exit_reason()}")
            self._process = process
            self._checks = checks

    def _kill_and_wait(self, process: ServerProcess) -> None:
        process.kill()
        # The fork server reports its end; if that hangs, the ports still count.
        process.ended.wait(REAP_SECONDS)
        if not wait_until(False, self._server.addresses, CLOSE_SECONDS):
            raise ListenerError(f"{self.name} was killed, but its ports still accept")

    def _on_end(self, process: ServerProcess) -> None:
        with self._state:
            unexpected = process is self._process
            if unexpected:
                self._process, self._ending = None, process
        if unexpected:
            self._on_failure(self.name, f"{self.name} {process.exit_reason()}")
