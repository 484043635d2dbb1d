"""Defenders with valid certificates that turn hostile: bounded memory, quick others."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fleet.defender_client import Dialled, FleetClient, masked, trouble, until
from tests.hosts.pace import Pace
from twistlock_console.protocol import DefenderHello, Events, encode
from twistlock_console.servers.defenders.backpressure import COMPLETION_TIMEOUT_S
from twistlock_console.servers.supervisor.child_listener import ChildListener

MAX_RESIDENT_MB = 250
LONGEST_ACK_S = 2.0
"""On an idle machine; see `Pace`."""
COUNT = 100
HUGE = b"".join(
    masked(
        encode(
            Events(tuple(trouble(n + 500 * m, "x" * 1000) for n in range(1, 501)))
        ).encode()
    )
    for m in range(3)
)
TINY_FRAMES = b"\x01\x81\0\0\0\0x" + b"\x00\x80\0\0\0\0" * 200_000
UNFINISHED = masked(b"{" + b" " * 1_900_000, announced=2_000_000)


def resident(server: ChildListener) -> float:
    """Return the megabytes of the server that are in memory."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    return float(text.split("VmRSS:")[1].split()[0]) / 1024


class Watch:
    """Asks for acknowledgements, and looks at the server's memory, on a thread."""

    def __init__(self, neighbour: Dialled, server: ChildListener) -> None:
        self.waits: list[float] = []
        self.most = 0.0
        self._neighbour = neighbour
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            number = len(self.waits) + 1
            began = time.monotonic()
            assert self._neighbour.report(trouble(number)) == number
            self.waits.append(time.monotonic() - began)
            self.most = max(self.most, resident(self._server))

    def p99(self) -> float:
        """Return the time within which 99 of 100 acknowledgements came."""
        return sorted(self.waits)[int(len(self.waits) * 0.99)]

    def summary(self, what: str) -> str:
        """Return the figures in words."""
        return (
            f"{what}: memory at most {self.most:.0f} MB; another's acknowledgements, "
            f"p99 of {len(self.waits)} {self.p99():.3f} s"
        )


def pour(client: socket.socket, data: bytes) -> None:
    """Send as much as is taken."""
    client.settimeout(0.1)
    with suppress(OSError):
        client.sendall(data)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(UNFINISHED, id="unfinished"),
        pytest.param(HUGE, id="huge"),
        pytest.param(TINY_FRAMES, id="tiny-frames"),
    ],
)
def test_a_hundred_hostile_defenders_are_no_burden(
    fleet: FleetClient,
    server: ChildListener,
    sent: bytes,
    record_property: Callable[[str, object], None],
) -> None:
    """Each sends after its hello what takes much memory."""
    neighbour = fleet.dial("neighbour").greet()
    names = [f"hostile-{number}" for number in range(COUNT)]
    clients = [fleet.raw(name) for name in names]
    for name, client in zip(names, clients, strict=True):
        client.sendall(masked(encode(DefenderHello(name, "26.11.1")).encode()))
    with Pace() as pace, Watch(neighbour, server) as watch:
        for client in clients:
            pour(client, sent)
        # The load goes on for a while: the kernel holds what was not read yet.
        poured = len(watch.waits)
        until(lambda: len(watch.waits) >= poured + 50, 40)

    what = f"{COUNT} hostile Defenders, {len(sent)} B, pace {pace.slowness:.1f}"
    record_property("told", watch.summary(what))
    assert watch.most < MAX_RESIDENT_MB
    assert watch.p99() < pace.limit(LONGEST_ACK_S)


def test_a_defender_with_much_to_tell_gets_through(
    fleet: FleetClient, server: ChildListener
) -> None:
    """Its large messages are stored while others hold parts of theirs."""
    clients = [fleet.raw(f"hostile-{number}") for number in range(COUNT)]
    for number, client in enumerate(clients):
        hello = encode(DefenderHello(f"hostile-{number}", "26.11.1")).encode()
        client.sendall(masked(hello))
        pour(client, UNFINISHED)
    honest = fleet.dial("honest").greet()
    findings = [trouble(number, "x" * 1000) for number in range(1, 401)]
    with Pace() as pace:
        began = time.monotonic()
        stored = honest.report(*findings)
        seconds = time.monotonic() - began

    assert stored == 400
    # It does not wait until each of them was given up, one after the other.
    assert seconds < pace.limit(COUNT * COMPLETION_TIMEOUT_S / 8)
