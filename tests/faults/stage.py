"""Where a scenario is played: the cluster, who was what at first, and its users."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.records import Answer, Outcome, Write, answers, writes
from tests.hosts.cluster import Cluster
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import boottime_ns

LONG_SESSION = 99_999
FIRST_OP = 100_000
OPS_EACH = 20_000
WARM_WRITES = 10
PROBER_NAME = "prober"


class Unsettled(Exception):
    """The role moved before the fault began; the scenario has to be set up anew."""


class Stage:
    """One scenario's view of *cluster*; *number* tells its files and writes apart."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        name = cluster.wait_converged()
        self.primary = cluster.nodes[name]
        self.standbys = [n for n in cluster.nodes.values() if n is not self.primary]
        self.epoch = int(cluster.view(self.primary)["epoch"])
        self.pids = {node.host.name: node.pids() for node in cluster.nodes.values()}
        self.thawed_at = 0
        self.began = 0
        root = cluster.laboratory.root / "notes"
        root.mkdir(exist_ok=True)
        self._papers = root / "papers"
        self._token = root / "token"
        self._answers = root / f"answers-{number}.jsonl"
        self._writes = root / f"writes-{number}.jsonl"
        self.first_op = FIRST_OP + number * OPS_EACH

    def nodes(self, who: str) -> list[HostedNode]:
        """The nodes that *who* means: by role at the beginning, or by host name."""
        match who:
            case "primary":
                return [self.primary]
            case "standby":
                return self.standbys[:1]
            case "other":
                return self.standbys[1:]
            case "standbys":
                return self.standbys
            case "all":
                return [self.primary, *self.standbys]
            case name:
                return [self.cluster.nodes[name]]

    def begin(self) -> None:
        """Note that the fault begins now; raises Unsettled."""
        if not self.primary.ask("/v1/status")["serving"]:
            raise Unsettled(f"{self.primary.host.name} does not serve any more")
        self.began = boottime_ns()

    def answers(self) -> list[Answer]:
        """What the prober has noted so far."""
        return answers(self._answers)

    def writes(self) -> list[Write]:
        """What the writer has noted so far."""
        return writes(self._writes)

    def stored_elsewhere(self) -> bool:
        """Whether a write was acknowledged by another node since the fault began."""
        return any(
            w.outcome is Outcome.STORED
            and w.sent > self.began
            and w.address != self.primary.address
            for w in self.writes()
        )

    @contextmanager
    def users(self) -> Iterator[None]:
        """Have prober and writer at work; wait at the end until both are done."""
        if not self._papers.exists():
            self.cluster.defender_papers(PROBER_NAME, self._papers)
        self._log_in()
        programs = [
            self._program("prober", self._answers),
            self._program(
                *("writer", self._writes, "--token", str(self._token)),
                *("--first", str(self.first_op)),
            ),
        ]
        try:
            wait_for(self._warm, 20, "prober and writer at work", every=0.1)
            yield
        finally:
            for program in programs:
                program.communicate(timeout=30)

    def _log_in(self) -> None:
        """Get a token for the writer that outlives a step of the clock."""
        api, address = self.cluster.api, self.primary.address
        settings = {"sessionTimeoutSec": LONG_SESSION}
        api.call(address, "POST", "/settings/logon", settings)
        self._token.write_text(api.token(address))

    def _warm(self) -> bool:
        assert self.first_op + OPS_EACH < 4_000_000, "a session timeout has a limit"
        return len(self.writes()) >= WARM_WRITES and len(self.answers()) >= WARM_WRITES

    def _program(self, name: str, notes: Path, *more: str) -> subprocess.Popen[bytes]:
        addresses = [node.address for node in self.cluster.nodes.values()]
        papers = ["--papers", str(self._papers), "--notes", str(notes)]
        module = f"tests.faults.{name}"
        return self.cluster.client.start(
            *(sys.executable, "-m", module, *papers, *more, *addresses),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
        )
