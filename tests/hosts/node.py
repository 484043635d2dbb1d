"""A Console node on a test host: its configuration, its process, what it says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hosts.fake_clock import FakeClock
from tests.hosts.laboratory import Host
from tests.hosts.waiting import wait_for
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.mongod_run import find_mongod
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings

PROJECT = Path(__file__).parents[2]
STOP_SECONDS = 30


class HostedNode:
    """One node on *host*; *asker* is the host that its node API is asked from.

    *keys* are those of the configuration file. With *own_clock*, `clock` steps the
    wall clock of its mongod. *project* is the folder of the sources that it runs from.
    """

    def __init__(
        self, host: Host, asker: Host, *, own_clock: bool = False, **keys: str
    ) -> None:
        self.host = host
        self.project = PROJECT
        self.clock = FakeClock(host.folder / "clock") if own_clock else None
        self._asker = asker
        self._run: subprocess.Popen[bytes] | None = None
        self.configure(**keys)
        if self.clock:
            program = self.clock.worn_by(find_mongod(self.settings))
            self.configure(**keys, MONGOD_BINARY=str(program))
        self.settings.folders.create()

    @property
    def address(self) -> str:
        """The host's address."""
        return self.host.address

    @property
    def log(self) -> Path:
        """What the node has logged, over all its runs."""
        return self.host.folder / "node.log"

    def configure(self, **keys: str) -> None:
        """Write the configuration file that the next start reads."""
        usual = {
            "NODE_ADDRESS": self.address,
            "DATA_FOLDER": str(self.host.folder / "data"),
            "DATA_RECOVERY_VOLUME": str(self.host.folder / "backup"),
            "HIGH_AVAILABILITY_ENABLED": "true",
            "DATABASE_CACHE_GB": "0.25",
        }
        lines = [f"{key}={value}\n" for key, value in {**usual, **keys}.items()]
        self._config = self.host.folder / "twistlock.cfg"
        self._config.write_text("".join(lines))
        with self.host.network():
            self.settings: Settings = load_settings(self._config, {})

    def start(self) -> None:
        """Start the node's process, unless it runs; returns at once."""
        if self.running:
            return
        command = [sys.executable, "app.py", "run", "--config", str(self._config)]
        with self.log.open("ab") as log:
            self._run = self.host.start(
                *command,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._run is not None and self._run.poll() is None

    def wait_ended(self, seconds: float = STOP_SECONDS) -> None:
        """Return when the process has ended; raises TimeoutError."""
        wait_for(lambda: not self.running, seconds, f"the end of {self.host.name}")

    def ask(self, path: str, *, timeout: float = 2.0) -> Any:
        """What the node API answers at *path*; raises ConsoleError."""
        with (
            self._asker.network(),
            NodeClient(self.settings, self.address, timeout=timeout) as client,
        ):
            return client.get(path)

    def try_ask(self, path: str, *, timeout: float = 1.0) -> Any:
        """The same, or {} when there is no answer."""
        try:
            return self.ask(path, timeout=timeout)
        except (ConsoleError, OSError):
            return {}

    def pids(self) -> dict[str, int]:
        """Process ids inside the host: "node", "mongod", and those of open ports."""
        status = self.ask("/v1/status")
        return {"node": status["pid"], **status["pids"]}
