"""A test host's namespaces: own processes, network and mounts, gone when we are.

One construction does it all: `unshare --pid --fork --kill-child` started bound to the
test runner. If the runner ends in any way, SIGKILL included, the kernel kills
`unshare`, that kills process 1 of the namespace, and with process 1 the kernel kills
everything inside. No namespace has a name or a file, so each is freed with its last
process: nothing can leak, and nothing has to be cleaned up.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hosts.waiting import wait_for
from twistlock_console.system.processes import with_parent_death_signal

CLONE_NEWNET = 0x40000000
COMMAND_SECONDS = 60
_libc = ctypes.CDLL(None, use_errno=True)

# Process 1 reaps orphans by ignoring SIGCHLD, which outlives the exec. It is not
# reached by `kill -1`, so a host's network stays up when all of its programs die.
_FIRST = ["/bin/sh", "-c", "trap '' CHLD; exec sleep infinity"]

# Not nsenter: it stops itself whenever its program is stopped, and stays behind.
_ENTER = """
import ctypes, os, sys
target, *argv = sys.argv[1:]
libc, here = ctypes.CDLL(None), os.getcwd()
spaces = [open(f"/proc/{target}/ns/{name}") for name in ("net", "mnt", "pid")]
for space in spaces:
    assert libc.setns(space.fileno(), 0) == 0
os.chdir(here)
if (child := os.fork()) == 0:
    os.execvp(argv[0], argv)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
"""


class Namespaces:
    """The kernel's side of one host. Open it in a thread that outlives it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        isolated = ["--pid", "--fork", "--kill-child", "--net", "--mount"]
        unshare = shutil.which("unshare") or "unshare"
        self._unshare = subprocess.Popen(
            with_parent_death_signal(
                [unshare, *isolated, "--mount-proc", "--", *_FIRST]
            ),
            stdin=subprocess.DEVNULL,
        )
        self.pid = wait_for(self._first_process, 10, "the namespaces of a host")

    def _first_process(self) -> int | None:
        """Process 1 once it is itself, as it is numbered out here."""
        if self._unshare.poll() is not None:
            raise RuntimeError("unshare failed; test hosts need root and namespaces")
        me = self._unshare.pid
        children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "sleep\n":
            return None
        return int(children[0])

    def close(self) -> None:
        """Kill everything inside; twice is as once."""
        self._unshare.kill()
        self._unshare.wait()
        for program in self._started:
            program.wait()

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program inside; what is given back waits for it out here.

        *options* are Popen's. Signals go to the program with `signal`, by its own pid.
        """
        enter = [sys.executable, "-I", "-S", "-c", _ENTER, str(self.pid), *argv]
        program = subprocess.Popen(with_parent_death_signal(enter), **options)
        self._started.append(program)
        return program

    def run(self, *argv: str) -> str:
        """Run a short command inside and give its output."""
        inside = ["--net", "--mount", "--pid"]
        return _run(["nsenter", f"--target={self.pid}", *inside, *argv])

    def run_in_network(self, *argv: str) -> str:
        """The same in the network only, where process ids are those out here."""
        return _run(["nsenter", f"--target={self.pid}", "--net", *argv])

    def signal_all(self, number: signal.Signals) -> None:
        """Send *number* to every process but the first, in one system call."""
        self.run("sh", "-c", f"kill -s {number.name[3:]} -- -1 || true")

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send *number* to the process that is *pid* inside."""
        self.run("sh", "-c", f"kill -s {number.name[3:]} {pid}")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have this thread make its sockets inside; only this thread."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            _set_network(inside)
            try:
                yield
            finally:
                _set_network(outside)
        finally:
            os.close(inside)
            os.close(outside)

    def processes(self) -> dict[int, str]:
        """The command lines of all processes but the first, by their pid out here."""
        mine = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "ns/pid").readlink() == mine:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    found[int(entry.name)] = b" ".join(words).decode().strip()
            except OSError:
                continue
        found.pop(self.pid, None)
        return {pid: line for pid, line in found.items() if line}


def _set_network(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns was refused")


def _run(argv: list[str]) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
