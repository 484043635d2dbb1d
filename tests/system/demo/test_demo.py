"""The demo as its users run it: headless, killed and started again, and ended."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.pace import Pace
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import eventually
from twistlock_console.system.processes import with_parent_death_signal

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.needs("ip", "nsenter", "unshare", root=True),
]

PROJECT = Path(__file__).parents[3]
NODES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
PORTS = (8083, 8443, 8084)
IN_A_NAMESPACE = 'ip link set lo up && exec "$@"'
ACCEPTED = """
import json, socket, sys
def accepts(address, port):
    try:
        socket.create_connection((address, port), 1).close()
    except ConnectionRefusedError:
        return False
    return True
print(json.dumps([[a, p] for a, p in json.loads(sys.argv[1]) if accepts(a, p)]))
"""

Event = dict[str, Any]


class Demo:
    """A headless demo in a network namespace of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        command = [sys.executable, str(PROJECT / "app.py"), "demo"]
        words = [*command, "--headless", "--state", str(state)]
        shell = ["/bin/sh", "-c", IN_A_NAMESPACE, "sh", *words]
        self.process = subprocess.Popen(
            with_parent_death_signal(["/usr/bin/unshare", "--net", *shell]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._events.put(json.loads(line))

    def say(self, line: str) -> None:
        """Give a command."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, expected: Callable[[Event], bool], seconds: float = 120) -> Event:
        """The next event that is *expected*; fails when none comes in time."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            event = self._events.get(timeout=left)
            if expected(event):
                return event

    def status(self) -> Any:
        """What `status` answers."""
        self.say("status")
        return self.hear(lambda event: event.get("command") == "status")["status"]

    def accepting(self) -> dict[str, list[int]]:
        """The ports that accept, by address; those that accept none are left out."""
        wanted = json.dumps([[a, p] for a in NODES for p in PORTS])
        namespace = f"--net=/proc/{self.process.pid}/ns/net"
        answer = subprocess.run(
            ["nsenter", namespace, sys.executable, "-c", ACCEPTED, wanted],
            capture_output=True,
            check=True,
            timeout=120,
        )
        found: dict[str, list[int]] = {}
        for address, port in json.loads(answer.stdout):
            found.setdefault(address, []).append(port)
        return found

    def left_processes(self) -> list[str]:
        """The command lines of its processes that live, after a moment's patience."""
        eventually(lambda: not self._processes())
        return self._processes()

    def _processes(self) -> list[str]:
        lines = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (entry / "environ").read_bytes().decode(errors="ignore")
            except OSError:
                continue
            if str(self.state) in line + environment:
                lines.append(line)
        return lines

    def close(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()


@pytest.fixture(scope="module")
def state(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder that the demos of this module have one after the other."""
    with server_folder(request, "demo") as folder:
        yield folder


@pytest.fixture
def demo(state: Path) -> Iterator[Demo]:
    """A demo that is ready."""
    demo = Demo(state)
    try:
        demo.hear(lambda event: event["event"] == "ready")
        yield demo
    finally:
        demo.close()


def test_a_killed_primary_is_replaced_and_comes_back(demo: Demo) -> None:
    """Three times: another node stores what users write, and the dead one rejoins."""
    for _ in range(3):
        primary = demo.status()["writes"]["by"]

        with Pace() as pace:
            demo.say(f"kill {primary}")
            failover = demo.hear(lambda event: event["event"] == "failover")
        serving = demo.accepting()
        demo.say(f"start {primary}")
        demo.hear(lambda event: event.get("role") == "SECONDARY")

        assert failover["before"] == primary
        assert failover["after"] != primary
        assert failover["seconds"] < pace.limit(10)
        assert serving == {failover["after"]: list(PORTS)}
        assert demo.status()["writes"]["lost"] == 0

    demo.say("quit")

    assert demo.process.wait(timeout=120) == 0
    assert demo.left_processes() == []
    assert not (demo.state / "demo.json").exists()


def test_the_next_demo_goes_on_and_leaves_nothing_when_killed(demo: Demo) -> None:
    """The account is the same, one demo runs at a time, SIGKILL leaves no process."""
    told = json.loads((demo.state / "demo.json").read_text())
    second = subprocess.run(
        [sys.executable, "app.py", "demo", "--state", str(demo.state)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    demo.process.kill()

    assert [node["address"] for node in told["nodes"]] == list(NODES)
    assert told["password"] == (demo.state / "account").read_text()
    assert second.returncode == 1
    assert "Another demo runs on this machine" in second.stderr
    assert demo.left_processes() == []
