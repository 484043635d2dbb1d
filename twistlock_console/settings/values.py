"""The settings as values, with their defaults."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any


class LogFormat(StrEnum):
    """The format of the log."""

    JSON = "json"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of a node, below one root that only its account may read."""

    root: Path

    @property
    def database(self) -> Path:
        """Return the folder of mongod's files."""
        return self.root / "db"

    @property
    def log(self) -> Path:
        """Return the folder of the logs of the node and of mongod."""
        return self.root / "log"

    @property
    def certificates(self) -> Path:
        """Return the folder of certificates and their keys."""
        return self.root / "certificates"

    @property
    def secrets(self) -> Path:
        """Return the folder of passwords and of keys without certificates."""
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """Return the folder of files that are only valid while the node runs."""
        return self.root / "run"

    @property
    def scripts(self) -> Path:
        """Return the folder of the installed twistlock.cfg and scripts."""
        return self.root / "scripts"

    @property
    def images(self) -> Path:
        """Return the folder of the release tarball, for hosts that join."""
        return self.root / "images"

    def create(self) -> None:
        """Create all folders, those below the root for their owner alone.

        Raises OSError. An existing root keeps its mode.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # On a disk of its own it may be unusable by itself: then mongod says why.
        with suppress(OSError):
            _make_private(self.database)
        for folder in (
            self.log,
            self.certificates,
            self.secrets,
            self.run,
            self.scripts,
            self.images,
        ):
            _make_private(folder)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of twistlock.cfg. The keys are the fields in capitals.

    *plugin_values* has the values of the keys that plugins declare, by key.
    """

    node_address: str
    console_cn: str = "localhost"
    console_san: tuple[str, ...] = ()
    management_port_https: int = 8083
    management_port_ui: int | None = 8443
    communication_port: int = 8084
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    data_recovery_enabled: bool = True
    data_recovery_volume: Path = Path("/var/lib/twistlock-backup")
    data_recovery_key_file: Path | None = None
    data_folder: Path = Path("/var/lib/twistlock")
    projects_enabled: bool = False
    log_format: LogFormat = LogFormat.JSON
    alert_targets_allowed: tuple[IPv4Network | IPv6Network, ...] = ()
    database_port: int = 27017
    mongod_binary: Path | None = None
    database_cache_gb: float = 0.5
    node_api_port: int = 8086
    plugin_values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folders(self) -> Folders:
        """Return the folders below DATA_FOLDER."""
        return Folders(self.data_folder)

    @property
    def service_addresses(self) -> tuple[str, ...]:
        """Return the addresses of the service ports: all, or a loopback NODE_ADDRESS.

        On a host without IPv6 the second of them is left out.
        """
        everywhere = ("0.0.0.0", "::")  # noqa: S104 - the fleet's hosts must reach it
        return (self.node_address,) if self._on_loopback else everywhere

    @property
    def private_addresses(self) -> tuple[str, ...]:
        """Return the addresses that mongod and the node API listen on."""
        if self._on_loopback:
            return (self.node_address,)
        return (self.node_address, "127.0.0.1")

    @property
    def _on_loopback(self) -> bool:
        return IPv4Address(self.node_address).is_loopback
