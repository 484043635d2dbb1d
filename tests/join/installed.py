"""Consoles that were installed from the tarball, as their administrators see them."""

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.hosts.console_api import ConsoleApi
from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost

CLI = "twistlock-console --log-level error"
DATA = "/var/lib/twistlock"
SETTINGS = {
    "HIGH_AVAILABILITY_ENABLED": "true",
    "DATABASE_CACHE_GB": "0.25",
}
CLUSTER_SECONDS = 120


class Site:
    """Bare hosts by name, and a host "client" with a browser."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory
        self.client = laboratory.host("client")
        self.hosts: dict[str, BareHost] = {}
        authority = laboratory.root / "ca.pem"
        self.api = ConsoleApi(self.client, authority)

    def host(self, name: str) -> BareHost:
        """The host called *name*, fresh when it is first asked for."""
        if name not in self.hosts:
            self.hosts[name] = BareHost(self.laboratory.host(name))
        return self.hosts[name]

    def install_primary(self, release: Path, **keys: str) -> BareHost:
        """Install a Console on h1 as the manual says; gives the host."""
        primary = self.host("h1")
        folder = primary.unpack(release)
        configure(primary, folder, **SETTINGS, NODE_ADDRESS=primary.address, **keys)
        said = primary.bash(f"{folder}/twistlock.sh -s console")
        assert said.endswith("Twistlock Console installed successfully.\n"), said
        self.trust(primary)
        wait_for(lambda: serves(primary), 30, "the primary serves")
        return primary

    def trust(self, host: BareHost) -> None:
        """Have the client know the authority of *host*."""
        found = host.bash(f"cat {DATA}/certificates/ca.pem")
        (self.laboratory.root / "ca.pem").write_text(found)

    def join(self, host: BareHost, primary: BareHost) -> str:
        """Have *host* ask to join, with a command from the API; what it printed."""
        return host.bash(self.command(primary))

    def command(self, primary: BareHost) -> str:
        """A new join command."""
        made = self.api.call(primary.address, "POST", "/high-availability/join-token")
        return str(made["command"])

    def apply(self, primary: BareHost) -> None:
        """Admit those who wait, and wait until all three nodes vote."""
        self.api.call(primary.address, "POST", "/high-availability/apply")
        self.wait_whole(primary)

    def serving(self) -> BareHost:
        """The host that serves now; a loaded machine may have had a failover."""
        return wait_for(
            lambda: next((h for h in self.hosts.values() if serves(h)), None),
            60,
            "somebody serves",
        )

    def users(self) -> Any:
        """What the API lists as users, on whichever host serves."""
        return wait_for(self._ask_for_users, 60, "the users", every=0.5)

    def _ask_for_users(self) -> Any:
        with suppress(ConnectionError):
            return self.api.call(self.serving().address, "GET", "/users")
        return None

    def wait_whole(self, host: BareHost) -> None:
        """Wait until *host* sees three healthy nodes that vote."""
        wait_for(lambda: is_whole(host), CLUSTER_SECONDS, "three nodes", every=0.5)


def configure(host: BareHost, folder: str, **keys: str) -> None:
    """Set *keys* in the twistlock.cfg of an unpacked release."""
    for key, value in keys.items():
        host.bash(f"sed -i 's#^{key}=.*#{key}={value}#' {folder}/twistlock.cfg")


def view(host: BareHost) -> dict[str, Any]:
    """What `ha status` shows on *host*; {} when it shows nothing."""
    said = host.bash(f"{CLI} ha status --json", check=False)
    return dict(json.loads(said)) if said.startswith("{") else {}


def states(host: BareHost) -> dict[str, str]:
    """The state of each node by its address, as *host* sees them."""
    return {node["address"]: node["state"] for node in view(host).get("nodes", ())}


def is_whole(host: BareHost) -> bool:
    """Whether three healthy nodes vote."""
    shown = view(host)
    found = sorted(node["state"] for node in shown.get("nodes", ()))
    whole = found == ["PRIMARY", "SECONDARY", "SECONDARY"]
    return whole and shown["failuresSurvived"] == 1 and shown["primary"] is not None


def serves(host: BareHost) -> bool:
    """Whether the Console answers on this host."""
    ping = "curl -sk --max-time 2 https://127.0.0.1:8083/api/v1/_ping"
    return host.bash(ping, check=False) == "OK"


def power_off(host: BareHost) -> None:
    """End every program on *host* at once."""
    host.host.signal_all(signal.SIGKILL)


def start(host: BareHost) -> None:
    """Start the Console again, as a boot would."""
    host.bash("/opt/twistlock/twistlock.sh start")
