"""Real load balancers in front of a cluster of test hosts, and clients behind them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.records import Answer, Write, answers, writes
from tests.faults.stage import OPS_EACH, PROBER_NAME
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import ADDRESSES, Host
from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for

NAME = "console.test"
HAPROXY, NGINX = ADDRESSES["lb"], ADDRESSES["h4"]
BALANCERS = (HAPROXY, NGINX)
#: What the nodes' certificates must hold.
NAMES = (NAME, HAPROXY, NGINX)
#: How each client comes to the Consoles; "direct" tries all three nodes at once.
WAYS = {"haproxy": [HAPROXY], "nginx": [NGINX], "dns": [NAME]}


class Fronts:
    """HAProxy and dnsmasq on one host, nginx on another, with the files we make."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._root = cluster.laboratory.root / "fronts"
        self._root.mkdir()
        self._papers = self._root / "papers"
        self._rounds = 0

    def start(self) -> None:
        """Start all three; returns when a client gets through each."""
        self.cluster.defender_papers(PROBER_NAME, self._papers)
        first, second = (self.cluster.laboratory.host(name) for name in ("lb", "h4"))
        haproxy = self._made("haproxy").replace(
            "/etc/haproxy/twistlock-ca.pem", str(self._papers / "ca.pem")
        )
        self._run(first, "haproxy", haproxy, "-db", "-f")
        self._run(first, "dnsmasq", self._made("dns"), "-k", "-u", "root", "-C")
        nginx = self._made("nginx").replace("/run/nginx.pid", f"{self._root}/nginx.pid")
        self._run(second, "nginx", nginx, "-g", "daemon off;", "-c")
        resolver = self._root / "resolv.conf"
        resolver.write_text(f"nameserver {HAPROXY}\n")
        self.cluster.client.run("mount", "--bind", str(resolver), "/etc/resolv.conf")
        for address in (HAPROXY, NGINX):
            wait_for(lambda at=address: self._gets_through(at), 20, f"{address}")

    def _made(self, kind: str) -> str:
        node = next(iter(self.cluster.nodes.values()))
        config = str(node.host.folder / "twistlock.cfg")
        program = (sys.executable, str(PROJECT / "app.py"))
        return node.host.run(*program, "loadbalancer", kind, "--config", config)

    def _run(self, host: Host, program: str, text: str, *arguments: str) -> None:
        file = self._root / f"{program}.conf"
        file.write_text(text)
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
        log = (self._root / f"{program}.log").open("wb")
        # What HAProxy's file leaves open: not every machine allows 50,000 descriptors.
        few = {**os.environ, "CONNECTIONS": "3000"}
        with log:
            host.start(
                str(path), *arguments, str(file), stdout=log, stderr=log, env=few
            )

    def _gets_through(self, address: str) -> bool:
        try:
            self.cluster.api.token(address)
        except ConnectionError:
            return False
        return True

    @contextmanager
    def clients(self) -> Iterator["Round"]:
        """Have a writer on each way, and a Defender, at work meanwhile."""
        self._rounds += 1
        token = self._root / "token"
        serving = self.cluster.nodes[self.cluster.wait_converged()]
        token.write_text(self.cluster.api.token(serving.address))
        folder = self._root / f"round-{self._rounds}"
        folder.mkdir()
        played = Round(folder, 1_000_000 + self._rounds * 10 * OPS_EACH)
        nodes = [node.address for node in self.cluster.nodes.values()]
        with ExitStack() as programs:
            for way, addresses in {"direct": nodes, **WAYS}.items():
                more = ("--token", str(token), "--first", str(played.first_op(way)))
                writer = ("writer", played.notes(way), *more, *addresses)
                programs.enter_context(self._program(*writer))
            prober = ("prober", folder / "answers.jsonl", HAPROXY, NGINX, NAME)
            programs.enter_context(self._program(*prober))
            wait_for(played.warm, 30, "all clients at work", every=0.1)
            yield played

    @contextmanager
    def _program(self, name: str, notes: Path, *more: Any) -> Iterator[None]:
        papers = ["--papers", str(self._papers), "--notes", str(notes)]
        program = self.cluster.client.start(
            *(sys.executable, "-m", f"tests.faults.{name}", *papers, *more),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
        )
        try:
            yield
        finally:
            program.communicate(timeout=30)


class Round:
    """What the clients of one round noted, in *folder*."""

    def __init__(self, folder: Path, first: int) -> None:
        self._folder = folder
        self.first = first

    def first_op(self, way: str) -> int:
        """The number of the first write on this *way*."""
        return self.first + ["direct", *WAYS].index(way) * OPS_EACH

    def notes(self, way: str) -> Path:
        """Where the writer on this *way* notes."""
        return self._folder / f"{way}.jsonl"

    def writes(self, way: str) -> list[Write]:
        """What the writer noted."""
        return writes(self.notes(way))

    def hellos(self) -> list[Answer]:
        """What the Defender was greeted with."""
        found = answers(self._folder / "answers.jsonl")
        return [answer for answer in found if answer.epoch]

    def warm(self) -> bool:
        """Whether every client has got through."""
        greeted = {answer.address for answer in self.hellos()}
        return len(greeted) == len(WAYS) and all(
            len(self.writes(way)) >= 10 for way in ("direct", *WAYS)
        )
