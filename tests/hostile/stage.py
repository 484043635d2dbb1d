"""A formed cluster under attack: honest clients, an attacker, and what is watched."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hostile.honest import PEOPLE
from tests.hostile.records import Record, read_records
from tests.hostile.revocations import prepare_revocations
from tests.hostile.verdict import Outcome
from tests.hosts.cluster import Cluster
from tests.hosts.console_api import PASSWORD
from tests.hosts.laboratory import PREFIX
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.pace import Pace
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import SECOND, boottime_ns

LONG_SESSION = 99_999
#: As many addresses as A3 asks for.
SOURCES = [f"{PREFIX}{number}" for number in range(201, 241)]
HONEST, ATTACKER = "honest", "attacker"
LOOK_EVERY_S = 0.5
MIB = 1024
#: What a slow download asks for; it never ends in the buffers of two kernels.
LARGE_BYTES = 32 * 1024 * 1024
END_TIMEOUT_S = 60


class HostileStage:
    """Attacks on *cluster*, from one host, beside honest clients on another."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.attacker = cluster.laboratory.host("h5")
        for source in SOURCES:
            self.attacker.run("ip", "address", "add", f"{source}/24", "dev", "eth0")
        self._root = cluster.laboratory.root / "hostile"
        self._root.mkdir()
        for name in (HONEST, ATTACKER):
            cluster.defender_papers(name, self._root / name)
        for node in cluster.nodes.values():
            images = node.settings.folders.images
            images.mkdir(exist_ok=True)
            with (images / "twistlock_console.tar.gz").open("wb") as file:
                file.truncate(LARGE_BYTES)
        self._token = self._root / "token"
        serving = cluster.nodes[cluster.wait_converged()].address
        for name in PEOPLE:
            user = {"username": name, "password": PASSWORD, "role": "auditor"}
            cluster.api.call(serving, "POST", "/users", user)
        self._runs = 0

    def play(
        self, name: str, attacks: Sequence[str], seconds: float, through: str = ""
    ) -> Outcome:
        """Attack for so many seconds and return what honest clients saw of it.

        Attacks and honest requests go *through* the load balancer at that address, or
        straight to the nodes.
        """
        serving = self.cluster.nodes[self.cluster.wait_converged()]
        first = self._epoch(serving)
        self._log_in(serving)
        self._runs += 1
        notes = self._root / f"notes-{self._runs}.jsonl"
        targets = [through] if through else self._addresses()
        with (
            memory_watched(self.cluster) as memory,
            self._honest(notes, through or serving.address),
            Pace() as pace,
        ):
            with self._attack(attacks, targets) as counts:
                until = boottime_ns() + round(seconds * SECOND)
                wait_for(lambda: boottime_ns() > until, seconds + 5, "time to pass")
            records = list(read_records(notes))
        epochs = (first, self._last_epoch())
        return Outcome(name, records, epochs, dict(memory), dict(counts), pace.slowness)

    def prepare_revocations(self) -> None:
        """Revoke what the attacks with revoked things try."""
        prepare_revocations(self.cluster, self._root)

    def _addresses(self) -> list[str]:
        return [node.address for node in self.cluster.nodes.values()]

    def _epoch(self, node: HostedNode) -> int:
        return int(self.cluster.view(node)["epoch"])

    def _last_epoch(self) -> int:
        """Return the epoch after the attack, once the cluster is whole."""
        return self._epoch(self.cluster.nodes[self.cluster.wait_converged()])

    def _log_in(self, serving: HostedNode) -> None:
        api = self.cluster.api
        settings = {"sessionTimeoutSec": LONG_SESSION}
        api.call(serving.address, "POST", "/settings/logon", settings)
        self._token.write_text(api.token(serving.address))

    @contextmanager
    def _honest(self, notes: Path, address: str) -> Iterator[None]:
        papers = ("--papers", str(self._root / HONEST))
        more = ("--notes", str(notes), "--token", str(self._token), address)
        nodes = ("--nodes", *self._addresses())
        with program(self.cluster.client, "honest", *papers, *nodes, *more):
            wait_for(lambda: is_warm(list(read_records(notes))), 20, "honest clients")
            yield

    @contextmanager
    def _attack(
        self, attacks: Sequence[str], targets: Sequence[str]
    ) -> Iterator[dict[str, int]]:
        counts: dict[str, int] = {}
        started = program(
            self.attacker,
            "client",
            *("--papers", str(self._root / ATTACKER), "--token", str(self._token)),
            *("--sources", *SOURCES, "--attacks", *attacks, "--addresses", *targets),
        )
        with started as told:
            yield counts
        counts.update(json.loads(told[0]))


def is_warm(records: Sequence[Record]) -> bool:
    """Return whether every kind of honest client has asked and was answered."""
    kinds = {getattr(each, "kind", "") for each in records}
    return {"ping", "initialized", "users", "login", "API session", "Defender"} <= kinds


@contextmanager
def program(host: Any, name: str, *arguments: str) -> Iterator[list[str]]:
    """Run a program of this package on *host* until the context ends.

    What it printed is in the list that is given, afterwards.
    """
    printed: list[str] = []
    process: subprocess.Popen[bytes] = host.start(
        *(sys.executable, "-m", f"tests.hostile.{name}", *arguments),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield printed
    finally:
        output, _ = process.communicate(timeout=END_TIMEOUT_S)
        printed.append(output.decode())
    assert process.returncode == 0, f"{name} failed; its traceback is above"


@contextmanager
def memory_watched(cluster: Cluster) -> Iterator[dict[str, int]]:
    """Look at the memory of every server process until the context ends.

    Gives the most that each took, in MiB, by host and program.
    """
    most: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_EVERY_S):
            for name, mib in server_memory(cluster).items():
                most[name] = max(most.get(name, 0), mib)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def server_memory(cluster: Cluster) -> dict[str, int]:
    """Return what each of our processes takes now, in MiB, by host and pid."""
    return {
        f"{name}: process {pid} ({_role(line)})": _resident_mib(pid)
        for name, node in cluster.nodes.items()
        for pid, line in node.host.processes().items()
        if "mongod" not in line and _role(line)
    }


def _role(line: str) -> str:
    if "app.py run" in line:
        return "node"
    return "server" if "forkserver" in line else ""


def _resident_mib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in status.splitlines() if "VmRSS" in line]
    return int(sizes[0]) // MIB if sizes else 0
