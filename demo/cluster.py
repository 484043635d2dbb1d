"""Run the demo's three nodes as child processes, which can be killed or frozen."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from demo.events import NODES
from demo.plugin import VARIABLE
from demo.state import DemoState
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.settings.host import ORCHESTRATOR_VARIABLES
from twistlock_console.system.processes import with_parent_death_signal

#: Enough for standbys. A primary without another candidate would only wait longer.
STOP_TIMEOUT_S = 3.0
REAP_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0


class DemoNode:
    """The processes of one node.

    Use it from one thread that lives as long as the node. *group* is the id of the
    group that its processes run as, None for our own.
    """

    def __init__(self, address: str, state: DemoState, group: int | None) -> None:
        self.address = address
        self._config = state.configure(address)
        self._log = self._config.with_name("node.log")
        self._group = group
        self._process: subprocess.Popen[bytes] | None = None
        self.condition = "killed"

    @property
    def pid(self) -> int | None:
        """Return the id of the node process; None if it was never started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the node and return at once; raises Refused if it runs."""
        if self.condition in ("running", "frozen"):
            raise Refused(f"{self.address} is {self.condition} already.")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                with_parent_death_signal(
                    [sys.executable, _program(), "run", *self._arguments()]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                # Ctrl-C at the terminal is for the demo, which then ends its nodes.
                start_new_session=True,
                group=self._group,
            )
        self.condition = "running"

    def _arguments(self) -> list[str]:
        return ["--config", str(self._config)]

    def kill(self) -> None:
        """Kill the node and all its processes at once, as if the host failed."""
        process = self._alive("running", "frozen")
        left = kill_tree(process.pid)
        process.wait(REAP_TIMEOUT_S)
        self.condition = "killed"
        if left:
            raise ConsoleError(f"These processes do not end: {sorted(left)}.")

    def freeze(self) -> None:
        """Stop the node and all its processes, as if the host hung."""
        signal_tree(self._alive("running").pid, signal.SIGSTOP)
        self.condition = "frozen"

    def thaw(self) -> None:
        """Continue a frozen node."""
        signal_tree(self._alive("frozen").pid, signal.SIGCONT)
        self.condition = "running"

    def poll_exit(self) -> int | None:
        """Return the exit code of a node that ended by itself, once; otherwise None."""
        if self.condition != "running" or self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            self.condition = "ended"
        return code

    def terminate(self) -> None:
        """Ask the node to stop in an orderly way, and return at once."""
        if self.condition == "running" and self._process:
            self._process.terminate()

    def reap(self, seconds: float) -> None:
        """Wait up to *seconds* for the node to end, then kill the rest."""
        if self._process is None or self.condition not in ("running", "frozen"):
            return
        if self.condition == "running":
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
            else:
                self.condition = "ended"
                return
        self.kill()

    def last_log_line(self) -> str:
        """Return the last line of the node's log, which says why it ended."""
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it wrote nothing"

    def _alive(self, *conditions: str) -> subprocess.Popen[bytes]:
        if self._process is None or self.condition not in conditions:
            raise Refused(f"{self.address} is {self.condition}.")
        return self._process


def _program() -> str:
    """Return the file of the Console's program, in a checkout or an installation."""
    spec = importlib.util.find_spec("app")
    if spec is None or spec.origin is None:
        raise ConsoleError("The Console's program (app.py) is not where it belongs.")
    return str(Path(spec.origin).resolve())


def _environment() -> dict[str, str]:
    # The nodes are ours to start, also where the demo itself runs in a container.
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in ORCHESTRATOR_VARIABLES
    }
    return {**own, VARIABLE: "1"}


class Cluster:
    """The three nodes."""

    def __init__(self, state: DemoState, groups: dict[str, int]) -> None:
        self.nodes = {
            address: DemoNode(address, state, groups.get(address)) for address in NODES
        }

    def stop(self) -> None:
        """Stop all nodes; kill those that take longer than STOP_TIMEOUT_S."""
        deadline = boottime_ns() + int(STOP_TIMEOUT_S * SECOND)
        for node in self.nodes.values():
            node.terminate()
        for node in self.nodes.values():
            node.reap(max(0.0, (deadline - boottime_ns()) / SECOND))


def signal_tree(root: int, number: signal.Signals) -> set[psutil.Process]:
    """Send *number* to *root* and to all below it; return the processes it reached.

    Repeats until there is no new one, because processes start others meanwhile.
    """
    reached: set[psutil.Process] = set()
    while new := _tree_of(root) - reached:
        # The root first, so that it starts nothing more.
        for process in sorted(new, key=lambda each: (each.pid != root, each.pid)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        reached |= new
    return reached


def kill_tree(root: int) -> set[int]:
    """Kill *root* and all below it at once, as if the host failed.

    Returns:
        The ids of processes that still run after KILL_TIMEOUT_S.
    """
    # Stopped first: otherwise the last ones would react to the death of the first.
    doomed = signal_tree(root, signal.SIGSTOP)
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = boottime_ns() + int(KILL_TIMEOUT_S * SECOND)
    # Not psutil.wait_procs: it would take the root's exit code from subprocess.
    while left := {each.pid for each in doomed if _is_alive(each)}:
        if boottime_ns() >= deadline:
            break
        time.sleep(0.01)
    return left


def _tree_of(root: int) -> set[psutil.Process]:
    try:
        top = psutil.Process(root)
        return {top, *top.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
