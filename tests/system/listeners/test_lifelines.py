"""Servers do not outlive their node, whichever of its processes is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    get,
    group_of,
    is_alive,
    is_cut,
    refuses,
    signal_group,
    tls_client,
)
from twistlock_console.settings import Settings

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Brain:
    """A node process and what it started."""

    pid: int
    warm: int
    servers: tuple[int, ...]
    deadline_ns: int


@contextmanager
def brain(settings: Settings, milliseconds: int = 0) -> Iterator[Brain]:
    """Run ``brain.py`` with its ports open; leave nothing of it behind."""
    ports = (
        settings.management_port_https,
        settings.management_port_ui,
        settings.communication_port,
    )
    arguments = [
        ROOT / "tests/listeners/brain.py",
        settings.data_folder,
        *ports,
        milliseconds,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout
        servers: list[int] = []
        try:
            words = [int(word) for word in process.stdout.readline().split()]
            servers = words[2:-1]
            yield Brain(words[0], words[1], tuple(servers), words[-1])
        finally:
            for pid in (process.pid, *servers):
                signal_group(pid, signal.SIGKILL)


def warm_process(node: Brain) -> list[int]:
    return [node.warm]


def node_process(node: Brain) -> list[int]:
    return [node.pid]


def both(node: Brain) -> list[int]:
    return [node.pid, node.warm]


@pytest.mark.parametrize("victims", [node_process, warm_process, both])
def test_nothing_outlives_the_node(
    settings: Settings, victims: Callable[[Brain], list[int]]
) -> None:
    """SIGKILL to the node alone leaves no server, no port and no connection."""
    with brain(settings) as node:
        client = tls_client(settings.management_port_https)
        groups = {pid: group_of(pid) for pid in node.servers}
        for pid in victims(node):
            os.kill(pid, signal.SIGKILL)

        assert sorted(len(group) for group in groups.values()) == [1, 2]
        assert eventually(lambda: all(group_of(pid) == [] for pid in node.servers), 1.0)
        assert eventually(lambda: refuses(settings.management_port_https), 1.0)
        assert eventually(lambda: refuses(settings.communication_port), 1.0)
        assert is_cut(client)
        assert eventually(lambda: not is_alive(node.warm), 1.0)
        client.close()


def test_a_frozen_node_takes_its_servers_along_at_the_deadline(
    settings: Settings,
) -> None:
    """Nobody renews the permit of a stopped node: its servers end by themselves."""
    with brain(settings, milliseconds=3000) as node:
        answered = get(settings.management_port_https)[0]
        os.kill(node.pid, signal.SIGSTOP)

        assert answered == 200
        assert eventually(lambda: all(group_of(pid) == [] for pid in node.servers))
        assert eventually(lambda: refuses(settings.management_port_https), 0.5)
        assert eventually(lambda: refuses(settings.communication_port), 0.5)


def test_servers_do_not_load_the_main_program(settings: Settings) -> None:
    """Its command line has no business there, and loading it takes long."""
    with brain(settings):
        assert get(settings.management_port_https, "/main") == (200, b"None")
