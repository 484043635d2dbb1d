"""Supervise one server process from start to exit; on a standby it waits.

Building the pages takes longer than the rest of an opening. So a standby has a process
that is fully built and waits to be activated. It holds no port: a closed port refuses.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.supervisor import forkserver
from twistlock_console.servers.supervisor.bootstrap import Prepare, run_child
from twistlock_console.servers.supervisor.forkserver import context
from twistlock_console.servers.supervisor.server_checks import (
    CheckClient,
    make_check_pair,
)
from twistlock_console.servers.supervisor.sockets import Address
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit

START_TIMEOUT_S = 5.0
"""A fork server that takes no processor time for so long hangs."""
MAX_START_S = 60.0
# Starting a process reaps others that have ended; an exit code can be read only once.
_reap_lock = threading.Lock()


class ServerProcess:
    """A process that leads its own group, watched by a thread until it has ended.

    *on_end* is called on that thread, after ``ended`` was set and the rest of the group
    was killed. Raises ListenerError if the process cannot be started.
    """

    def __init__(
        self, process: ForkServerProcess, on_end: Callable[["ServerProcess"], None]
    ) -> None:
        with _reap_lock:
            _start(process)
        self._process = process
        self._on_end = on_end
        self.pid = process.pid or 0
        self.ended = threading.Event()
        name = f"watch-{process.name}"
        threading.Thread(target=self._watch, name=name, daemon=True).start()

    def wait_for_report(self, pipe: Connection, timeout: float) -> None:
        """Wait *timeout* s until the process reports ready; raise ListenerError."""
        heard = wait([pipe, self._process.sentinel], timeout)
        if pipe.poll():
            with suppress(EOFError):
                if reason := pipe.recv():
                    raise ListenerError(f"{self._process.name} cannot serve: {reason}")
                return
        if heard and self.ended.wait(1.0):
            raise ListenerError(f"{self._process.name} {self.exit_reason()}")
        raise ListenerError(f"{self._process.name} did not listen within {timeout:g} s")

    def terminate(self) -> None:
        """Send SIGTERM to the group: finish requests in flight, then end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the group; its connections are reset."""
        self._signal(signal.SIGKILL)

    def exit_reason(self) -> str:
        """Return how the process ended; call it only after ``ended`` was set."""
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"ended by itself with code {code}"

    def _has_exited(self) -> bool:
        return bool(wait([self._process.sentinel], 0))

    def _watch(self) -> None:
        wait([self._process.sentinel])
        with _reap_lock:
            self._process.join()
        self._signal(signal.SIGKILL)
        self.ended.set()
        self._on_end(self)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It does not lead a group yet, or the group has ended.
            if not self._has_exited():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)


def _start(process: ForkServerProcess) -> None:
    # Nothing else limits the wait for a fork server that hangs.
    is_started = threading.Event()
    threading.Thread(target=_stop_if_hung, args=(is_started,), daemon=True).start()
    try:
        process.start()
    except (OSError, EOFError) as error:
        why = describe_error(error)
        raise ListenerError(f"{process.name} cannot be started: {why}") from error
    finally:
        is_started.set()


def _stop_if_hung(is_started: threading.Event) -> None:
    """Stop a fork server that hangs, but not one that imports slowly on a busy host."""
    before = forkserver.read_cpu_ticks()
    for _ in range(round(MAX_START_S / START_TIMEOUT_S)):
        if is_started.wait(START_TIMEOUT_S):
            return
        taken = forkserver.read_cpu_ticks()
        if taken == before:
            break
        before = taken
    forkserver.stop()


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server to run: its name, its addresses and the function that builds it."""

    name: str
    addresses: tuple[Address, ...]
    prepare: Prepare


class StandbyGone(ListenerError):
    """The standby process died while it waited, maybe without a report yet."""


class StandbyProcess:
    """A pre-built process of *server*; it ends with this object, unless activated.

    Raises ListenerError if the process cannot be started.
    """

    def __init__(
        self,
        server: ServerSpec,
        settings: Settings,
        permit: Permit,
        on_end: Callable[[ServerProcess], None],
    ) -> None:
        try:
            self._report, report = context.Pipe(duplex=False)
            gate, self._gate = context.Pipe(duplex=False)
            ours, checks = make_check_pair()
        except OSError as error:
            sentence = f"{server.name} cannot be started: {describe_error(error)}"
            raise ListenerError(sentence) from error
        self.checks = CheckClient(ours)
        arguments = (server.prepare, settings, permit, report, gate, checks)
        process = context.Process(
            target=run_child, args=arguments, name=server.name, daemon=True
        )
        with report, gate, checks:
            try:
                self.process = ServerProcess(process, on_end)
            except ListenerError:
                self._close()
                raise

    def activate(self, seconds: float) -> None:
        """Let the process serve; return when it reports ready.

        Args:
            seconds: How long it has.

        Raises:
            StandbyGone: It died while it waited.
            ListenerError: It reported a failure, or nothing in time.

        """
        try:
            self._open_gate()
            self.process.wait_for_report(self._report, seconds)
        except OSError as error:
            raise ListenerError(
                f"the server process has ended: {describe_error(error)}"
            ) from error
        finally:
            self._close()

    def _open_gate(self) -> None:
        try:
            self._gate.send(True)
        except OSError as error:
            raise StandbyGone(
                f"the standby process has ended: {describe_error(error)}"
            ) from error

    def _close(self) -> None:
        self._report.close()
        self._gate.close()
