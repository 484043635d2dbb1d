"""The baseline: MongoDB's defaults, and a poll of `rs.status()` that opens a port.

Three mongods without any of our settings. On each host a small server polls every two
seconds, and opens its port while its member says PRIMARY. What is measured is the
same as for our own: from the fault to the first write that a majority stored.
"""

import subprocess
import sys
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP
from socket import create_connection

from tests.hosts.laboratory import Host, Laboratory
from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.database.mongod_run import find_mongod
from twistlock_console.settings import Settings

NAMES = ("h1", "h2", "h3")
PORT = 8083
PATIENCE = 90.0


class Baseline:
    """Three hosts; the client writes from a fourth."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._hosts = {name: laboratory.host(name) for name in NAMES}
        self._client = laboratory.host("client")
        self._mongods: dict[str, subprocess.Popen[bytes]] = {}
        self._binary = str(find_mongod(Settings(node_address="127.0.0.1")))

    def form(self) -> None:
        """Start all, make them one set, and wait for the first stored write."""
        for name in NAMES:
            self._start_mongod(name)
            self._start_server(name)
        members = [
            f"{{'_id': {i}, 'host': '{host.address}:27017'}}"
            for i, host in enumerate(self._hosts.values())
        ]
        wait_for(self._stored_port, PATIENCE, "mongod", every=0.2)
        self._hosts["h1"].run(
            sys.executable,
            "-c",
            "import pymongo as m; c = m.MongoClient(directConnection=True); "
            "c.admin.command('replSetInitiate',"
            f" {{'_id': 'x', 'members': [{', '.join(members)}]}})",
        )
        wait_for(self.serving, PATIENCE, "the baseline to serve", every=0.2)

    def measure(self, fault: Callable[[str], None]) -> float:
        """Seconds from *fault*, on the serving host, to a write stored elsewhere."""
        wait_for(self._whole, PATIENCE, "a whole baseline", every=0.5)
        name = str(wait_for(self.serving, PATIENCE, "the baseline to serve"))
        others = set(NAMES) - {name}
        began = boottime_ns()
        fault(name)
        wait_for(lambda: self.serving(others), PATIENCE, "another to store", every=0.02)
        seconds = (boottime_ns() - began) / SECOND
        self._heal(name)
        return seconds

    def serving(self, names: set[str] | None = None) -> str | None:
        """The first host of *names* that stores a write on a majority."""
        for name in names or NAMES:
            if self._store(self._hosts[name]):
                return name
        return None

    def kill_mongod(self, name: str) -> None:
        """SIGKILL to the database alone."""
        found = self._hosts[name].run("pgrep", "-x", "mongod").split()
        self._hosts[name].signal(int(found[0]), SIGKILL)

    def kill_all(self, name: str) -> None:
        """SIGKILL to everything on the host."""
        self._hosts[name].signal_all(SIGKILL)

    def unplug(self, name: str) -> None:
        """Pull the host's cable."""
        self._laboratory.set_cable(self._hosts[name], "down")

    def freeze(self, name: str) -> None:
        """SIGSTOP to everything on the host."""
        self._hosts[name].signal_all(SIGSTOP)

    def _heal(self, name: str) -> None:
        self._laboratory.set_cable(self._hosts[name], "up")
        self._hosts[name].signal_all(SIGCONT)
        processes = " ".join(self._hosts[name].processes().values())
        if "mongod" not in processes:
            self._start_mongod(name)
        if "plain_server" not in processes:
            self._start_server(name)

    def _whole(self) -> bool:
        code = (
            "import pymongo; c = pymongo.MongoClient(directConnection=True,"
            " timeoutMS=2000); print([m['stateStr'] for m in"
            " c.admin.command('replSetGetStatus')['members']])"
        )
        try:
            states = self._hosts["h1"].run(sys.executable, "-c", code)
        except RuntimeError:
            return False
        return states.count("SECONDARY") == 2 and states.count("PRIMARY") == 1

    def _store(self, host: Host) -> bool:
        try:
            with (
                self._client.network(),
                create_connection((host.address, PORT), timeout=1) as connection,
            ):
                connection.sendall(b"store\n")
                connection.settimeout(2)
                return connection.recv(16) == b"stored\n"
        except OSError:
            return False

    def _stored_port(self) -> bool:
        code = (
            "import pymongo; pymongo.MongoClient(directConnection=True,"
            " timeoutMS=500).admin.command('ping')"
        )
        try:
            for host in self._hosts.values():
                host.run(sys.executable, "-c", code)
        except RuntimeError:
            return False
        return True

    def _start_mongod(self, name: str) -> None:
        host = self._hosts[name]
        data = host.folder / "db"
        data.mkdir(exist_ok=True)
        host.start(
            *(self._binary, "--replSet", "x", "--dbpath", str(data)),
            *("--bind_ip", f"127.0.0.1,{host.address}", "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", "0.25", "--quiet"),
            stdout=subprocess.DEVNULL,
        )

    def _start_server(self, name: str) -> None:
        self._hosts[name].start(
            sys.executable,
            "-m",
            "tests.bench.plain_server",
            self._hosts[name].address,
            str(PORT),
            cwd=PROJECT,
            stderr=subprocess.DEVNULL,
        )
