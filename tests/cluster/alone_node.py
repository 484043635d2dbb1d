"""A node without high availability, started as a program."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hosts.ping import answers_ping
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings

PROJECT = Path(__file__).parents[2]
# Tests run in several processes at a time: each has addresses of its own.
NETWORK = f"127.{1 + os.getpid() // 250 % 250}.{os.getpid() % 250}"
PORTS = {
    "MANAGEMENT_PORT_HTTPS": "18083",
    "MANAGEMENT_PORT_UI": "18443",
    "COMMUNICATION_PORT": "18084",
    "HIGH_AVAILABILITY_PORT": "18086",
    "DATABASE_PORT": "37017",
}


class AloneNode:
    """The node's process, and what it says on its node API.

    *more* are settings, *project* is the checkout that it runs from.
    """

    def __init__(self, folder: Path, project: Path = PROJECT, **more: str) -> None:
        self.config = folder / "twistlock.cfg"
        keys = {
            **PORTS,
            "NODE_ADDRESS": f"{NETWORK}.81",
            "DATA_FOLDER": str(folder / "data"),
            "DATA_RECOVERY_VOLUME": str(folder / "backup"),
            "DATABASE_CACHE_GB": "0.25",
            **more,
        }
        self.config.write_text("".join(f"{k}={v}\n" for k, v in keys.items()))
        self.settings: Settings = load_settings(self.config, {})
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "run", "--config", str(self.config)], cwd=project
        )

    def status(self) -> dict[str, Any]:
        """What the node does now; {} when it does not say."""
        try:
            with NodeClient(self.settings, self.settings.node_address) as client:
                return dict(client.get("/v1/status"))
        except (ConsoleError, OSError):
            return {}

    def serves(self) -> bool:
        """Whether its pages answer."""
        return bool(self.status().get("serving")) and answers_ping(self.settings, 1)
