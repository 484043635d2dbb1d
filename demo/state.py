"""Manage the demo's folder: configurations, account, and demo.json."""

import fcntl
import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from demo.events import LOAD_BALANCER, NODES
from twistlock_console.common.atomic_files import read_text_secret, write_secret
from twistlock_console.common.errors import Refused
from twistlock_console.settings import Settings, load_settings

USER = "admin"
LOCK_NAME = "\0twistlock-console-demo"
CONFIG = """\
NODE_ADDRESS={address}
CONSOLE_CN=localhost
CONSOLE_SAN={load_balancer}
DATA_FOLDER={folder}/data
DATA_RECOVERY_ENABLED=false
DATA_RECOVERY_VOLUME={folder}/backup
DATABASE_CACHE_GB=0.25
HIGH_AVAILABILITY_ENABLED=true
HIGH_AVAILABILITY_STATE={state}
"""


def default_folder() -> Path:
    """Return the default folder of the demo."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "twistlock-demo"


class DemoState:
    """The folder *root* of the demo; only files that a demo created are touched."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.ca_file = self.root / "ca.pem"
        self.demo_file = self.root / "demo.json"
        self._account = self.root / "account"

    def claim(self, held: ExitStack) -> None:
        """Lock the demo against a second one, for as long as *held* is open.

        Raises:
            Refused: Another demo runs, with the same addresses or in the same folder.
        """
        name = held.enter_context(socket.socket(socket.AF_UNIX))
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = held.enter_context((self.root / "demo.lock").open("w"))
        except OSError as error:
            raise Refused(f"{self.root} cannot be used: {error.strerror}.") from error
        try:
            # An abstract socket name: the kernel frees it, however the demo ends.
            name.bind(LOCK_NAME)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refused(
                "Another demo runs on this machine; end it first (`quit`, or Ctrl-C)."
            ) from error

    @property
    def is_formed(self) -> bool:
        """Return whether an earlier demo formed its cluster completely."""
        return self._account.exists()

    def clean(self) -> None:
        """Delete the files of the earlier demo."""
        for file in (self._account, self.ca_file, self.demo_file):
            file.unlink(missing_ok=True)
        for address in NODES:
            shutil.rmtree(self.root / address, ignore_errors=True)

    def password(self) -> str:
        """Return the administrator's password of the formed cluster."""
        return read_text_secret(self._account)

    def save_password(self, password: str) -> None:
        """Store the password, which marks the cluster as formed for the next demo."""
        write_secret(self._account, password.encode())

    def configure(self, address: str) -> Path:
        """Write the configuration of the node at *address*; return its file."""
        folder = self.root / address
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "twistlock.cfg"
        file.write_text(
            CONFIG.format(
                address=address,
                load_balancer=LOAD_BALANCER,
                folder=folder,
                state="PRIMARY" if address == NODES[0] else "SECONDARY",
            )
        )
        return file

    def settings(self, address: str) -> Settings:
        """Return the settings of the node at *address*."""
        return load_settings(self.root / address / "twistlock.cfg", {})

    def write_description(self, demo: Mapping[str, object]) -> None:
        """Write demo.json, readable by this user alone: it contains the password."""
        write_secret(self.demo_file, json.dumps(demo, indent=2).encode() + b"\n")


def new_password() -> str:
    """Return a password for the administrator of a new cluster."""
    return secrets.token_urlsafe(15)
