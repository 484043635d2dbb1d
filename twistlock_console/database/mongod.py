"""Supervisor of mongod: starts it, restarts it with backoff when it ends, stops it."""

import logging
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

from twistlock_console.common.atomic_files import write_secret
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.common.log_bounds import MAX_LOG_BYTES, rotate_files
from twistlock_console.database.known_members import read_known_members
from twistlock_console.database.mongod_exit import start_failure_reason
from twistlock_console.database.mongod_run import RunLog, find_mongod, wait_until_free
from twistlock_console.database.mongod_sockets import close_unfinished_handshakes
from twistlock_console.database.options import (
    limits_for,
    mongod_options,
    raise_open_files_limit,
    to_config_file,
)
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import DatabaseStarted, DatabaseStopped
from twistlock_console.settings import Settings
from twistlock_console.system.processes import end_group, with_parent_death_signal

MIN_BACKOFF_S = 0.1
MAX_BACKOFF_S = 15.0
STABLE_RUN_S = 30.0
STOP_TIMEOUT_S = 10.0
#: For one that must restart: it hangs already, and may not end by itself.
RESTART_TIMEOUT_S = 2.0
log = logging.getLogger(__name__)


def next_backoff(pause: float, ran: float) -> float:
    """Return the seconds until the next restart (exponential backoff).

    The first restart is quick, because a failover may depend on it.

    Args:
        pause: the seconds before the last start.
        ran: the seconds that the last run lasted.

    """
    if ran >= STABLE_RUN_S:
        return MIN_BACKOFF_S
    return max(MIN_BACKOFF_S, min(2 * pause, MAX_BACKOFF_S))


class Mongod:
    """Supervises the mongod of this node on a thread of its own.

    One thread at a time may call `start` and `stop`. The kernel kills mongod when the
    supervisor thread ends, and so when the node process is killed.
    """

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self._settings = settings
        self._bus = bus
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._stop = self._restart = -1
        #: Why the process last ended, as a sentence; "" before that.
        self.reason = ""
        #: Why the database cannot be used now, as a sentence; "" while it answers.
        self.problem = ""
        #: How often the process has ended by itself, or could not be started.
        self.failures = 0
        #: Whether the node has found replica set and users in order once.
        self.is_prepared = False
        #: Called before each start; a ConsoleError postpones the start.
        self.start_checks: list[Callable[[], None]] = []

    @property
    def pid(self) -> int | None:
        """Return the process id while mongod runs, else None."""
        process = self._process
        return process.pid if process else None

    @property
    def running(self) -> bool:
        """Return whether the process runs; it may not answer yet."""
        return self._process is not None

    def start(self) -> None:
        """Start the supervisor; return before mongod answers. Idempotent.

        Raises:
            DatabaseError: there is no mongod, or an earlier one does not release the
                data folder in time.

        """
        if self._supervisor is not None:
            return
        find_mongod(self._settings)
        wait_until_free(self._settings.folders.database)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._restart = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._supervisor = threading.Thread(
            target=self._supervise,
            args=[self._stop],
            name="mongod-supervisor",
            daemon=True,
        )
        self._supervisor.start()

    def stop(self) -> None:
        """Stop mongod; kill it after STOP_TIMEOUT_S. Wait for its end. Idempotent."""
        if self._supervisor is None:
            return
        supervisor, self._supervisor = self._supervisor, None
        os.eventfd_write(self._stop, 1)
        supervisor.join()
        os.close(self._stop)
        os.close(self._restart)

    def restart(self) -> None:
        """Request a restart of mongod, which ends within RESTART_TIMEOUT_S."""
        if self._supervisor is not None:
            os.eventfd_write(self._restart, 1)

    def close_silent_connections(self) -> None:
        """Close connections to mongod whose peers do not complete the TLS handshake."""
        if (pid := self.pid) is not None:
            close_unfinished_handshakes(pid, self._settings.database_port)

    def rotate(self, max_bytes: int = MAX_LOG_BYTES) -> None:
        """Rotate the log of mongod if it has at least *max_bytes*."""
        pid = self.pid
        try:
            rotated = rotate_files(RunLog(self._settings.folders).path, max_bytes)
        except OSError as error:
            log.warning("the log of mongod cannot be rotated: %s", error)
            return
        if rotated and pid is not None:
            # Not through Popen, which might reap the process: the supervisor does.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)

    def _supervise(self, stop: int) -> None:
        pause = 0.0
        while not _wait_for_event(stop, seconds=pause):
            began = boottime_ns()
            self.reason = self._run(stop)
            pause = next_backoff(pause, (boottime_ns() - began) / SECOND)
            if _wait_for_event(stop, seconds=0):
                log.info("%s", self.reason)
            else:
                self._record_failure(pause)
            self._bus.publish(DatabaseStopped(self.reason))

    def _record_failure(self, pause: float) -> None:
        log.error("%s; starting it again in %.1f s", self.reason, pause)
        self.problem = self.reason
        self.failures += 1

    def _run(self, stop: int) -> str:
        """Run mongod until it ends or *stop* is ready; return the reason of its end."""
        try:
            run_log, process = self._spawn()
        except (ConsoleError, OSError) as error:
            return start_failure_reason(describe_error(error))
        self._process = process
        log.info("mongod started with process id %s", process.pid)
        self._bus.publish(DatabaseStarted(process.pid))
        try:
            _wait_for_end(process.pid, stop, self._restart)
            if _wait_for_event(stop, seconds=0):
                return _end_process(process, STOP_TIMEOUT_S)
            if self._must_restart():
                return _end_process(process, RESTART_TIMEOUT_S)
            return run_log.reason(process.wait())
        finally:
            self._process = None

    def _must_restart(self) -> bool:
        try:
            return bool(os.eventfd_read(self._restart))
        except BlockingIOError:
            return False

    def _spawn(self) -> tuple[RunLog, subprocess.Popen[bytes]]:
        for check in self.start_checks:
            check()
        folders = self._settings.folders
        options = folders.run / "mongod.conf"
        members = (self._settings.node_address, *read_known_members(folders))
        limits = limits_for(raise_open_files_limit(), members)
        write_secret(options, to_config_file(mongod_options(self._settings, limits)))
        program = find_mongod(self._settings)
        run_log = RunLog(folders)
        with run_log.output.open("wb") as output:
            process = subprocess.Popen(
                with_parent_death_signal([str(program), "--config", str(options)]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folders.run,
                # Its own process group: Ctrl-C at a terminal must reach the node alone.
                start_new_session=True,
            )
        return run_log, process


def _end_process(process: subprocess.Popen[bytes], grace: float) -> str:
    graceful = end_group(process.pid, grace=grace)
    process.poll()
    if graceful:
        return "mongod was stopped"
    return f"mongod did not stop within {grace:g} s and was killed"


def _wait_for_end(pid: int, *events: int) -> None:
    """Wait until the child *pid* has ended or one of *events* (eventfds) is ready."""
    child = os.pidfd_open(pid)
    try:
        poll = select.poll()
        for each in (child, *events):
            poll.register(each, select.POLLIN)
        poll.poll()
    finally:
        os.close(child)


def _wait_for_event(stop: int, *, seconds: float) -> bool:
    """Wait at most *seconds* for the eventfd *stop*; return whether it is ready."""
    poll = select.poll()
    poll.register(stop, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
