"""One node without high availability, on a loopback address of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.ping import answers_ping
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings

PROJECT = Path(__file__).parents[2]
KEYS = {
    "MANAGEMENT_PORT_HTTPS": "18083",
    "MANAGEMENT_PORT_UI": "18443",
    "COMMUNICATION_PORT": "18084",
    "HIGH_AVAILABILITY_PORT": "18086",
    "DATABASE_PORT": "37017",
    "DATABASE_CACHE_GB": "0.25",
}


@contextmanager
def serving(
    request: pytest.FixtureRequest, name: str, address: str
) -> Iterator["BackupsOfNode"]:
    """For a fixture: one node that serves; killed at the end."""
    with server_folder(request, name) as folder:
        node = BackupsOfNode(folder, address)
        node.start()
        try:
            yield node
        finally:
            node.kill()


class BackupsOfNode:
    """The node's process in *folder*, its volume, and its database."""

    def __init__(self, folder: Path, address: str) -> None:
        self.config = folder / "twistlock.cfg"
        self.volume = folder / "volume"
        keys = {
            **KEYS,
            "NODE_ADDRESS": address,
            "DATA_FOLDER": str(folder / "data"),
            "DATA_RECOVERY_VOLUME": str(self.volume),
        }
        self.config.write_text("".join(f"{k}={v}\n" for k, v in keys.items()))
        self.settings: Settings = load_settings(self.config, {})
        self._log = folder / "log"

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py", "run", "--config", str(self.config)],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
            )
        wait_for(self.serves, 60, "the node to serve")

    def serves(self) -> bool:
        """Whether its pages answer."""
        try:
            told = self.ask("/v1/status")
            return bool(told["serving"]) and answers_ping(self.settings, 1)
        except (ConsoleError, OSError):
            return False

    def kill(self) -> None:
        """End the node at once; the kernel ends all that belongs to it."""
        mongod = self.settings.folders.database / "mongod.lock"
        pid = int(mongod.read_text() or "0")
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not pid or _gone(pid), 10, "the end of mongod")

    def stop(self) -> None:
        """End it in an orderly way."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def ask(self, path: str) -> Any:
        """What its node API answers."""
        with NodeClient(self.settings, self.settings.node_address) as client:
            return client.get(path)

    def order(self, verb: str, **body: object) -> str:
        """Begin work on backups; gives its run."""
        with NodeClient(self.settings, self.settings.node_address) as client:
            return str(client.post(f"/v1/backups/{verb}", body)["run"])

    def ended(self, run: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the work has ended; how it did."""

        def look() -> dict[str, Any] | None:
            told: dict[str, Any] = self.ask(f"/v1/backups/runs/{run}")
            return told if told["state"] == "ended" else None

        return wait_for(look, seconds, "the end of the work", every=0.1)

    def listed(self) -> list[dict[str, Any]]:
        """The backups as everybody is shown them."""
        return list(self.ask("/v1/backups")["backups"])

    def at_database(self, *words: str) -> Any:
        """Look at its database, or change it; see `at_database.py`."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.backups.at_database",
                str(self.config),
                *words,
            ],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
        )
        return json.loads(done.stdout) if done.stdout else None


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"
