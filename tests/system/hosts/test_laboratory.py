"""Test hosts are apart from each other and from this machine, and leave nothing."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.laboratory import Host, Laboratory
from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for

pytestmark = pytest.mark.needs("ip", "iptables", "nsenter", "unshare", root=True)

RUNNER = """
import signal, sys
from pathlib import Path
from tests.hosts.laboratory import Laboratory

with Laboratory(Path(sys.argv[1])) as laboratory:
    host = laboratory.host("h1")
    host.start("sleep", "1000")
    host.start("sleep", "1001")
    while len(host.processes()) < 2:
        pass
    host.signal_all(signal.SIGSTOP)
    print(host.pid, *host.processes(), flush=True)
    signal.pause()
"""


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory without hosts."""
    with Laboratory(tmp_path) as opened:
        yield opened


def running(host: Host) -> list[str]:
    """The command lines of the host's programs."""
    return list(host.processes().values())


def reaches(one: Host, other: Host) -> bool:
    """Whether a connection from *one* to *other* stands within two seconds."""
    with other.network():
        server = socket.create_server((other.address, 0))
    with server, one.network():
        try:
            socket.create_connection(server.getsockname(), timeout=2).close()
        except OSError:
            return False
        return True


def test_hosts_reach_each_other_until_they_are_cut(laboratory: Laboratory) -> None:
    """A firewall rule or a pulled cable cuts them, and both can be undone."""
    one, other = laboratory.host("h1"), laboratory.host("h2")
    assert reaches(one, other)

    one.firewall.cut(other.address)
    assert not reaches(one, other)
    one.firewall.clear()
    assert reaches(one, other)

    laboratory.set_cable(other, "down")
    assert not reaches(one, other)
    laboratory.set_cable(other, "up")
    assert reaches(one, other)


def test_a_signal_reaches_every_process_of_one_host(laboratory: Laboratory) -> None:
    """All of its programs die, those of other hosts and its network do not."""
    one, other = laboratory.host("h1"), laboratory.host("h2")
    programs = [host.start("sleep", "1000") for host in (one, one, other)]
    wait_for(lambda: running(one) == ["sleep 1000"] * 2, 5, "two programs")
    wait_for(lambda: running(other) == ["sleep 1000"], 5, "one program")

    one.signal_all(signal.SIGKILL)

    assert [program.wait(60) for program in programs[:2]] == [256 - signal.SIGKILL] * 2
    assert running(other) == ["sleep 1000"]
    assert reaches(one, other)


def test_nothing_is_left_when_the_runner_is_killed(tmp_path: Path) -> None:
    """Not even stopped processes; and with them go the namespaces they held."""
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
    )
    assert runner.stdout is not None
    pids = [int(word) for word in runner.stdout.readline().split()]
    assert len(pids) == 3

    runner.kill()

    runner.communicate()
    wait_for(lambda: not any(map(lives, pids)), 5, "the end of every process")


def lives(pid: int) -> bool:
    """Whether the process exists and is more than a dead entry."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
