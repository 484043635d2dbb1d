"""Defenders and a real cluster: nothing that was found is lost, nothing comes twice."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.defender.program import COMMAND
from tests.faults.steps import heal
from tests.hosts.cluster import Cluster
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.pace import Pace
from tests.hosts.waiting import wait_for
from twistlock_defender.common.clock import boottime

pytestmark = [
    pytest.mark.needs("ip", "iptables", "nsenter", "unshare", root=True),
    pytest.mark.timed,
    pytest.mark.timeout(900),
]

DEFENDERS, RATE = 200, 20
PORT = 8084
# On an idle machine (`Pace`); two hundred handshakes need processor time.
BACK_SECONDS = float(os.environ.get("DEFENDERS_BACK_SECONDS", "8"))
ENDED_SECONDS = float(os.environ.get("DEFENDERS_ENDED_SECONDS", "2"))
# Played with 120 before a release.
ALONE_SECONDS = float(os.environ.get("DEFENDERS_ALONE_SECONDS", "8"))

Fault = Callable[[Cluster, HostedNode], None]
FAULTS: dict[str, Fault] = {
    "killed": lambda _, node: node.host.signal_all(signal.SIGKILL),
    "frozen": lambda _, node: node.host.signal_all(signal.SIGSTOP),
    "cut": lambda cluster, node: cluster.laboratory.set_cable(node.host, "down"),
}


@pytest.fixture
def cluster(timed_cluster: Cluster) -> Cluster:
    """Three nodes, which other tests use too."""
    return timed_cluster


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: two hundred outboxes on one disk would measure the disk."""
    folder = Path("/dev/shm") / f"defenders-{os.getpid()}"  # noqa: S108
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def addresses(cluster: Cluster) -> list[str]:
    """Where the nodes would serve Defenders."""
    return [f"{node.address}:{PORT}" for node in cluster.nodes.values()]


def stored(cluster: Cluster, like: str) -> dict[str, list[list[Any]]]:
    """What a majority has of the findings of Defenders whose names begin so."""
    node = cluster.nodes[cluster.wait_converged()]
    config = ["--config", str(node.host.folder / "twistlock.cfg"), "--like", like]
    program = node.host.start(
        *(sys.executable, "-m", "tests.defender.stored", *config),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    told, _ = program.communicate(timeout=120)
    return dict(json.loads(told))


def opened(cluster: Cluster, nodes: list[HostedNode]) -> float:
    """When, on the clock of boot time, one of *nodes* opened its port."""

    def open_one() -> bool:
        for node in nodes:
            with suppress(OSError), cluster.client.network():
                socket.create_connection((node.address, PORT), 0.3).close()
                return True
        return False

    wait_for(open_one, 60, "an open port", every=0.02)
    return boottime()


class Agent:
    """A real Defender on the client's host, with the papers in *folder*."""

    NAME = "autonomous"

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._host = cluster.client
        self._folder = folder
        cluster.defender_papers(self.NAME, folder / "defender")
        settings = {"defender": self.NAME, "addresses": addresses(cluster)}
        (folder / "defender" / "settings.json").write_text(json.dumps(settings))
        self.miner = folder / "miner-in-a-cluster"
        shutil.copy("/bin/sleep", self.miner)
        self.watched = folder / "watched"
        self.watched.mkdir()
        self.ended: list[float] = []

    def start(self) -> None:
        """Start it, and wait until it enforces."""
        words = [*COMMAND, "run", "--folder", str(self._folder / "defender")]
        with (self._folder / "log").open("ab") as log:
            self._program = self._host.start(*words, cwd=PROJECT, stderr=log)

    def kill(self) -> None:
        """Kill it without a warning."""
        for pid, line in self._host.processes().items():
            if "twistlock_defender run" in line:
                os.kill(pid, signal.SIGKILL)
        self._program.wait(60)

    def status(self) -> dict[str, Any]:
        """What `status` shows; {} before there is any."""
        try:
            text = (self._folder / "defender" / "status.json").read_text()
            return dict(json.loads(text))
        except (OSError, ValueError):
            return {}

    def sin(self, number: int) -> None:
        """Start what is denied, and change what is watched; it must be ended."""
        began = boottime()
        program = self._host.start(str(self.miner), "1000")
        assert program.wait(60) != 0
        self.ended.append(boottime() - began)
        (self.watched / f"file-{number:03}").write_text("new")


def test_a_defender_needs_no_console(cluster: Cluster, tmp_path: Path) -> None:
    """All nodes stop for a while: it enforces, also when it is killed and started anew.

    When they are back every finding is there once, in order, with its own time.
    """
    serving = cluster.nodes[cluster.wait_converged()]
    agent = Agent(cluster, tmp_path)
    rule = {
        "name": "alone",
        "processes": {"denied": [agent.miner.name], "effect": "prevent"},
        "files": {"paths": [{"path": str(agent.watched), "recursive": True}]},
        "compliance": {"checks": []},
    }
    path = "/policies/runtime/host"
    cluster.api.call(serving.address, "PUT", path, {"rules": [rule]})
    agent.start()
    wait_for(lambda: agent.status().get("rule") == "alone", 30, "the policy")
    agent.sin(0)
    cluster.stop()
    alone_since = datetime.now(UTC)
    over = boottime() + ALONE_SECONDS
    count = 1
    with Pace() as pace:
        while boottime() < over:
            if count == 3:
                # What it had not found when it died it finds later, in another order.
                wait_for(lambda: agent.status()["waiting"] >= 4, 30, "four findings")
                agent.kill()
                (agent.watched / "while-it-was-dead").write_text("new")
                agent.start()
            agent.sin(count)
            count += 1
    alone_until = datetime.now(UTC)
    for node in cluster.nodes.values():
        node.start()
    cluster.wait_converged(90)
    wait_for(lambda: agent.status().get("waiting") == 0, 60, "an empty outbox")
    agent.kill()
    events = stored(cluster, Agent.NAME)[Agent.NAME]
    ended = [told for told in events if told[2] == "process"]
    created = [Path(told[6]).name for told in events if told[2] == "file"]
    files = [f"file-{number:03}" for number in range(count)]
    assert [told[4] for told in ended] == ["ended"] * count
    assert sorted(created) == [*files, "while-it-was-dead"]
    assert [name for name in created if name.startswith("file")] == files
    numbers = [told[0] for told in events]
    assert numbers == sorted(set(numbers))
    times = [datetime.fromisoformat(told[1]) for told in ended]
    assert times == sorted(times)
    assert all(alone_since < moment < alone_until for moment in times[1:])
    sys.stdout.write(f"denied processes lived {max(agent.ended):.2f} s at most\n")
    assert max(agent.ended) < pace.limit(ENDED_SECONDS)


class Swarm:
    """Two hundred light Defenders on the client's host, their folders in *memory*."""

    def __init__(self, cluster: Cluster, memory: Path) -> None:
        self._cluster = cluster
        names = [f"swarm-{number:03}" for number in range(DEFENDERS)]
        for name in names:
            cluster.defender_papers(name, memory / name)
        self._notes = memory / "notes"
        self._notes.touch()
        self._program = cluster.client.start(
            *(sys.executable, "-m", "tests.defender.swarm"),
            *("--notes", str(self._notes), "--rate", str(RATE)),
            *("--addresses", *addresses(cluster), "--"),
            *(str(memory / name) for name in names),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def wait_back(self, epoch: int) -> list[float]:
        """When each was taken in under a later epoch than *epoch*, once all are."""
        everybody = wait_for(lambda: self._all(epoch), 60, "all Defenders back", 0.1)
        return sorted(everybody.values())

    def finish(self) -> dict[str, int]:
        """Let them find nothing more; how many each found, when all is acknowledged."""
        told, _ = self._program.communicate(timeout=120)
        return dict(json.loads(told))

    def _all(self, epoch: int) -> dict[str, float] | None:
        found: dict[str, float] = {}
        for line in self._notes.read_text().splitlines():
            with suppress(ValueError):
                name, under, moment = json.loads(line)
                if under > epoch:
                    found.setdefault(name, moment)
        return found if len(found) == DEFENDERS else None


def strike(cluster: Cluster, swarm: Swarm, fault: Fault) -> list[float]:
    """The seconds after which each Defender was back, from the port's opening."""
    serving = cluster.nodes[cluster.wait_converged()]
    epoch = int(cluster.view(serving)["epoch"])
    swarm.wait_back(epoch - 1)
    others = [node for node in cluster.nodes.values() if node is not serving]
    fault(cluster, serving)
    since = opened(cluster, others)
    back = swarm.wait_back(epoch)
    heal(cluster)
    return [moment - since for moment in back]


def test_no_finding_is_lost_when_the_primary_is(
    cluster: Cluster, memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed, frozen or cut: all come back soon, and every finding is stored once."""
    swarm = Swarm(cluster, memory)
    with Pace() as pace:
        took = {name: strike(cluster, swarm, fault) for name, fault in FAULTS.items()}
    found = swarm.finish()
    kept = stored(cluster, "swarm-")
    with capsys.disabled():
        pace_said = f"pace {pace.slowness:.1f}"
        sys.stdout.write(
            f"\n{sum(found.values()):,} findings; {pace_said}; back after:\n"
        )
        for name, back in took.items():
            median, last = back[DEFENDERS // 2], back[-1]
            sys.stdout.write(f"{name}: median {median:.1f} s, last {last:.1f} s\n")
    sentences = {name: [told[3] for told in events] for name, events in kept.items()}
    assert {name: len(told) for name, told in sentences.items()} == found
    assert all(told == [*map(str, range(len(told)))] for told in sentences.values())
    limit = pace.limit(BACK_SECONDS)
    assert [n for n, back in took.items() if back[-1] > limit] == []
