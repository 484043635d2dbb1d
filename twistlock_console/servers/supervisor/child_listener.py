"""A listener that is a child process: what the node opens and closes."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.supervisor.check_channel import CheckClient, CheckResult
from twistlock_console.servers.supervisor.server_process import Life
from twistlock_console.servers.supervisor.sockets import wait_until
from twistlock_console.servers.supervisor.standby_process import (
    Server,
    Spare,
    SpareGone,
)
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0
REAP_SECONDS = 1.0


class Listener(Protocol):
    """A server on some ports. Opening twice, or closing twice, does nothing."""

    name: str

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is closed."""

    def prepare(self) -> None:
        """Make ready to open quickly; changes nothing else. Raises ListenerError."""

    def open(self) -> None:
        """Begin to serve; return when the ports accept. Raises ListenerError."""

    def close(self, grace: float = 0.0) -> None:
        """Cut every connection after *grace* s; return when the ports refuse."""

    def check(self, seconds: float, *, database: bool = True) -> CheckResult | None:
        """Check the server; None if it does not run."""

    def fail(self, reason: str) -> None:
        """End a server that runs and does not work; *reason* is passed on."""


class ChildListener:
    """Runs a *server* as a warm child process while it is open.

    *on_failure* is called with the name and a reason, on a thread of our own and
    once, when an open server ends without having been closed.
    """

    def __init__(
        self,
        server: Server,
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
        self._spare: Spare | None = None
        self._opening: Life | None = None
        self._life: Life | None = None
        self._dying: Life | None = None
        self._checks: CheckClient | None = None

    @property
    def pid(self) -> int | None:
        """The leader of the server's process group, None while it is closed."""
        life = self._life
        return life.pid if life else None

    def prepare(self) -> None:
        """While it is closed, have a spare process wait; it holds no port.

        Does nothing while another thread opens or closes. Raises ListenerError.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._life is None:
                self._spare = self._find_spare()
        finally:
            self._turn.release()

    def open(self) -> None:
        """Start the server; return when its ports accept. Raises ListenerError."""
        with self._turn:
            if self._life:
                return
            # Another program that has the port now is named by the next step.
            with suppress(ListenerError):
                self._bury_the_last()
            spare, self._spare = self._find_spare(), None
            try:
                self._let_in(spare)
            except SpareGone:
                self._let_in(self._find_spare())

    def _let_in(self, spare: Spare) -> None:
        life = self._opening = spare.life
        try:
            spare.let_in(OPEN_SECONDS)
            self._adopt(life, spare.checks)
        except ListenerError:
            # Whoever else has the port still accepts: that must not hide why.
            life.kill()
            if not life.ended.wait(REAP_SECONDS):
                wait_until(False, self._server.addresses, CLOSE_SECONDS)
            raise
        finally:
            self._opening = None

    def _find_spare(self) -> Spare:
        if self._spare and not self._spare.life.ended.is_set():
            return self._spare
        return Spare(self._server, self._settings, self._permit, self._on_end)

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
            if (life := self._give_up_life()) and grace > 0:
                life.terminate()
                life.ended.wait(grace)
            self._bury_the_last()
        finally:
            self._turn.release()

    def check(self, seconds: float, *, database: bool = True) -> CheckResult | None:
        """Check the server; None if it does not run.

        One thread at a time may do this.
        """
        with self._state:
            checks = self._checks if self._life else None
        return checks.ask(seconds, database=database) if checks else None

    def fail(self, reason: str) -> None:
        """End a server that runs and does not work; *on_failure* gets *reason*.

        Does nothing while another thread opens or closes.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            life = self._give_up_life()
            with suppress(ListenerError):
                self._bury_the_last()
        finally:
            self._turn.release()
        if life:
            self._on_failure(self.name, reason)

    def _give_up_life(self) -> Life | None:
        """Return the life that runs, whose end is expected from now on."""
        with self._state:
            life, self._life = self._life, None
            # One that would not close is tried again by the next call.
            self._dying = life or self._dying
            return life

    def _bury_the_last(self) -> None:
        if self._dying:
            self._bury(self._dying)
        self._dying = None

    def _adopt(self, life: Life, checks: CheckClient) -> None:
        # Hosts without IPv6 are served without; who has it finds it open as well.
        expected = [each for each in self._server.addresses if ":" not in each[0]]
        if not wait_until(True, expected, OPEN_SECONDS):
            raise ListenerError(f"{self.name} says it listens, but it does not")
        with self._state:
            if life.ended.is_set():
                raise ListenerError(f"{self.name} {life.how_it_ended()}")
            self._life = life
            self._checks = checks

    def _bury(self, life: Life) -> None:
        life.kill()
        # Its end is told by the warm process; should that hang, the ports still count.
        life.ended.wait(REAP_SECONDS)
        if not wait_until(False, self._server.addresses, CLOSE_SECONDS):
            raise ListenerError(f"{self.name} was killed, but its ports still accept")

    def _on_end(self, life: Life) -> None:
        with self._state:
            unexpected = life is self._life
            if unexpected:
                self._life, self._dying = None, life
        if unexpected:
            self._on_failure(self.name, f"{self.name} {life.how_it_ended()}")
