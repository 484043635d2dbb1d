"""A host gets another address, and its single node goes on with its data."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.alone_node import NETWORK, PROJECT, AloneNode
from tests.hosts.waiting import wait_for
from twistlock_console.pki.identity_files import load_certificate, names_in

BEFORE, AFTER = f"{NETWORK}.85", f"{NETWORK}.86"
Start = Callable[[str, str], AloneNode]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a node on one and the same data; given its address, and whether HA."""
    started: list[AloneNode] = []

    def one(address: str, ha: str) -> AloneNode:
        for earlier in started:
            earlier.process.send_signal(signal.SIGTERM)
            earlier.process.wait(60)
        keys = {"NODE_ADDRESS": address, "HIGH_AVAILABILITY_ENABLED": ha}
        started.append(AloneNode(tmp_path, **keys))
        return started[-1]

    try:
        yield one
    finally:
        for node in started:
            node.process.kill()
            node.process.wait()


def names(node: AloneNode) -> set[str]:
    """What the node's certificate is for."""
    folder = node.settings.folders.certificates
    return names_in(load_certificate(folder / "node.pem"))


def test_a_console_without_high_availability(start: Start) -> None:
    """It needs a restart, and then serves at the new address alone."""
    wait_for(start(BEFORE, "false").serves, 60, "it serves")

    moved = start(AFTER, "false")

    wait_for(moved.serves, 60, "it serves at the new address")
    wait_for(lambda: BEFORE not in names(moved), 20, "the old address is forgotten")
    assert AFTER in names(moved)


def test_a_single_node_with_high_availability(start: Start) -> None:
    """It cannot know what became of the others; somebody has to say so."""
    wait_for(start(BEFORE, "true").serves, 60, "it serves")
    moved = start(AFTER, "true")
    wait_for(lambda: moved.status().get("running"), 60, "it runs")
    assert not moved.serves()

    command = [sys.executable, "app.py", "ha", "recover", "--force"]
    subprocess.run(
        [*command, "--config", str(moved.config)],
        cwd=PROJECT,
        input=f"{AFTER}\n".encode(),
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )

    wait_for(moved.serves, 60, "it serves at the new address")
    assert AFTER in names(moved)
