"""One life of a server process: from its start to the moment it is gone."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.supervisor import forkserver

START_SECONDS = 5.0
# Starting a process asks how others have ended, and that answer can be read only once.
_one_at_a_time = threading.Lock()


class Life:
    """A process that leads its own group, watched on a thread until it has ended.

    *on_end* is called on that thread, after ``ended`` was set and what was left of
    the group was killed. Raises ListenerError if the process cannot be started.
    """

    def __init__(
        self, process: ForkServerProcess, on_end: Callable[["Life"], None]
    ) -> None:
        with _one_at_a_time:
            _start(process)
        self._process = process
        self._on_end = on_end
        self.pid = process.pid or 0
        self.ended = threading.Event()
        name = f"watch-{process.name}"
        threading.Thread(target=self._watch, name=name, daemon=True).start()

    def wait_for_report(self, pipe: Connection, timeout: float) -> None:
        """Return when the process says that it is ready; ListenerError otherwise."""
        heard = wait([pipe, self._process.sentinel], timeout)
        if pipe.poll():
            with suppress(EOFError):
                if reason := pipe.recv():
                    raise ListenerError(f"{self._process.name} cannot serve: {reason}")
                return
        if heard and self.ended.wait(1.0):
            raise ListenerError(f"{self._process.name} {self.how_it_ended()}")
        raise ListenerError(f"{self._process.name} did not listen within {timeout:g} s")

    def terminate(self) -> None:
        """Ask the group to finish what it is doing and to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the group at once; connections are cut."""
        self._signal(signal.SIGKILL)

    def how_it_ended(self) -> str:
        """Say how the process ended, once it has."""
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"ended by itself with code {code}"

    def _gone(self) -> bool:
        return bool(wait([self._process.sentinel], 0))

    def _watch(self) -> None:
        wait([self._process.sentinel])
        with _one_at_a_time:
            self._process.join()
        self._signal(signal.SIGKILL)
        self.ended.set()
        self._on_end(self)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It may be too young to lead a group, or the group is gone.
            if not self._gone():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)


def _start(process: ForkServerProcess) -> None:
    # Nothing else limits the wait for a warm process that hangs.
    guard = threading.Timer(START_SECONDS, forkserver.end)
    guard.start()
    try:
        process.start()
    except (OSError, EOFError) as error:
        why = describe_error(error)
        raise ListenerError(f"{process.name} cannot be started: {why}") from error
    finally:
        guard.cancel()
