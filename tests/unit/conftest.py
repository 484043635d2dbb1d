"""The rule of this layer: no process, no network, no long sleep.

A test that breaks it fails, with a sentence that says where the test belongs.
"""

import ipaddress
import multiprocessing.util
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: A longer sleep is time that each run of the tests loses.
MAX_SLEEP_S = 0.05
PROCESS_EVENTS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
ADDRESS_EVENTS = frozenset({"socket.bind", "socket.connect", "socket.sendto"})
INTERNET = (socket.AF_INET, socket.AF_INET6)


class Layer:
    """Notes what the running test does that no unit test may do; for any thread."""

    def __init__(self) -> None:
        self._is_watched = False
        self._broken: list[str] = []

    @contextmanager
    def watched(self, item: pytest.Item) -> Iterator[None]:
        """Fail *item* if it breaks the rule, even where it hides the error."""
        self._broken.clear()
        self._is_watched = True
        try:
            yield
        finally:
            self._is_watched = False
            broken = " and ".join(dict.fromkeys(self._broken))
        if broken:
            pytest.fail(
                f"{item.nodeid} {broken}: move it to tests/system", pytrace=False
            )

    def refuse(self, what: str) -> None:
        """End the running test, which does *what*; nothing if none runs."""
        if self._is_watched:
            self._broken.append(what)
            pytest.fail(f"a unit test {what}: move it to tests/system")

    def on_audit_event(self, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse the event if it starts a process or leaves this host."""
        if not self._is_watched:
            return
        if event in PROCESS_EVENTS:
            self.refuse(f"starts a process ({event})")
        elif event in ADDRESS_EVENTS and not _is_local(*arguments[:2]):
            self.refuse(f"uses the network ({event} {arguments[1]})")


def _is_local(opened: object, address: object) -> bool:
    """Whether *address* is one of the loopback, or of no network at all."""
    if getattr(opened, "family", None) not in INTERNET:
        return True
    host = address[0] if isinstance(address, tuple) else address
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return host == "localhost"


LAYER = Layer()
sys.addaudithook(LAYER.on_audit_event)

# There is no audit event of these.
_sleep = time.sleep
_spawn = multiprocessing.util.spawnv_passfds


def _short_sleep(seconds: float) -> None:
    if seconds > MAX_SLEEP_S:
        LAYER.refuse(f"sleeps for {seconds:g} s")
    _sleep(seconds)


def _no_spawn(*arguments: object) -> int:
    LAYER.refuse("starts a process (multiprocessing)")
    return _spawn(*arguments)


time.sleep = _short_sleep
multiprocessing.util.spawnv_passfds = _no_spawn


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Watch what the fixtures do."""
    with LAYER.watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch what the test does."""
    with LAYER.watched(item):
        return (yield)
