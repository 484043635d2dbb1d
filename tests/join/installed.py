"""Consoles that were installed from the tarball, as their administrators see them."""

import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3

from tests.hosts.console_api import ConsoleApi
from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.manual import as_written
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings

CLI = "twistlock-console --log-level error"
DATA = "/var/lib/twistlock"
SETTINGS = {
    "HIGH_AVAILABILITY_ENABLED": "true",
    "DATABASE_CACHE_GB": "0.25",
}
CLUSTER_SECONDS = 120


class Site:
    """Bare hosts by name, and a host "client" with a browser."""

    def __init__(self, laboratory: Laboratory, environments: Path) -> None:
        self.laboratory = laboratory
        self.client = laboratory.host("client")
        self.hosts: dict[str, BareHost] = {}
        self._environments = environments
        self._authority = laboratory.root / "ca.pem"
        self.api = ConsoleApi(self.client, self._authority)

    def host(self, name: str, *, patient: bool = False) -> BareHost:
        """The host called *name*, fresh when it is first asked for."""
        if name not in self.hosts:
            made = BareHost(self.laboratory.host(name), self._environments)
            made.patient = patient
            self.hosts[name] = made
        return self.hosts[name]

    def install_primary(self, release: Path, primary: BareHost, **keys: str) -> None:
        """Install a Console as the manual says."""
        folder = primary.unpack(release)
        configure(primary, folder, **SETTINGS, NODE_ADDRESS=primary.address, **keys)
        install = as_written("sudo ./twistlock.sh -s console")
        said = primary.bash(f"cd {folder}; {install}")
        assert said.endswith("Twistlock Console installed successfully.\n"), said
        found = primary.bash(f"cat {DATA}/certificates/ca.pem")
        self._authority.write_text(found)
        wait_for(lambda: serves(primary), 30, "the primary serves")

    def form_anew(self, release: Path) -> None:
        """Take the Console off all nodes, and make a cluster of *release* of them."""
        primary, others = self.serving(), self.standbys()
        for host in others:
            primary.bash(f"{CLI} ha remove {host.address}")
        for host in (*others, primary):
            uninstall(host)
        self.install_primary(release, primary, CONSOLE_SAN="one.example.com")
        self.api.sign_up(primary.address)
        self.join(primary, *others)
        wait_for(lambda: view(primary)["applyReady"], 60, "both ask to join", every=0.5)
        self.apply(primary)

    def join(self, primary: BareHost, *hosts: BareHost) -> None:
        """Have *hosts* ask to join, all at the same time."""
        commands = [self.command(primary) for _ in hosts]
        with ThreadPoolExecutor() as pool:
            list(pool.map(BareHost.bash, hosts, commands))

    def command(self, primary: BareHost) -> str:
        """A new join command."""
        made = self.api.call(primary.address, "POST", "/high-availability/join-token")
        return str(made["command"])

    def apply(self, primary: BareHost) -> None:
        """Admit those who wait, and wait until all three nodes vote."""
        self.api.call(primary.address, "POST", "/high-availability/apply")
        self.wait_whole(primary)

    def be_served_by(self, host: BareHost) -> None:
        """Switch over to *host*, unless it serves; three healthy nodes vote then."""
        if self.serving() is not host:
            host.bash(f"{CLI} ha switchover {host.address}")
            wait_for(lambda: serves(host), 30, f"{host.address} serves")
        self.wait_whole(host)

    def standbys(self) -> list[BareHost]:
        """The hosts of the other nodes, in the order of their addresses."""
        serving = self.serving()
        others = sorted(set(states(serving)) - {serving.address})
        return [h for a in others for h in self.hosts.values() if h.address == a]

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

    @contextmanager
    def asked_all_the_time(self, host: BareHost) -> Iterator[dict[str, list[int]]]:
        """Ask *host* over a connection that stands and over new ones, without a pause.

        Gives, for either way, the boot-time instants at which questions were sent that
        were answered. The first that is not ends it.
        """
        answered: dict[str, list[int]] = {"keep-alive": [], "close": []}
        ended = threading.Event()

        def ask(way: str) -> None:
            headers = {"Connection": way}
            with (
                host.host.network(),
                pages_of(host, self._authority) as pool,
                suppress(urllib3.exceptions.HTTPError),
            ):
                while not ended.wait(0.01):
                    sent = boottime_ns()
                    pool.request("GET", "/api/v1/_ping", headers=headers)
                    answered[way].append(sent)

        with ThreadPoolExecutor() as threads:
            for way in answered:
                threads.submit(ask, way)
            try:
                yield answered
            finally:
                ended.set()

    def wait_whole(self, host: BareHost) -> None:
        """Wait until *host* sees three healthy nodes that vote."""
        wait_for(lambda: is_whole(host), CLUSTER_SECONDS, "three nodes", every=0.5)


def configure(host: BareHost, folder: str, **keys: str) -> None:
    """Set *keys* in the twistlock.cfg of an unpacked release."""
    for key, value in keys.items():
        host.bash(f"sed -i 's#^{key}=.*#{key}={value}#' {folder}/twistlock.cfg")


def view(host: BareHost) -> dict[str, Any]:
    """The cluster as the node on *host* sees it; {} when it does not say."""
    settings = Settings(node_address=host.address, data_folder=host.tree(DATA))
    try:
        with host.host.network(), NodeClient(settings, host.address) as node:
            return dict(node.get("/v1/ha/cluster"))
    except ConsoleError:
        return {}


def lease_ttl_ms(host: BareHost) -> int:
    """How long a lease lasts there."""
    said = host.bash(f"{CLI} config")
    return int(said.partition("LEASE_TTL_MS=")[2].split()[0])


def states(host: BareHost) -> dict[str, str]:
    """The state of each node by its address, as *host* sees them."""
    return {node["address"]: node["state"] for node in view(host).get("nodes", ())}


def is_whole(host: BareHost) -> bool:
    """Whether three healthy nodes vote, whoever asks to join besides."""
    shown = view(host)
    found = sorted(node["state"] for node in shown.get("nodes", ()))
    found = [state for state in found if state != "REQUEST_JOIN"]
    whole = found == ["PRIMARY", "SECONDARY", "SECONDARY"]
    return whole and shown["failuresSurvived"] == 1 and shown["primary"] is not None


def serves(host: BareHost) -> bool:
    """Whether the Console answers on this host."""
    authority = host.tree(f"{DATA}/certificates/ca.pem")
    if not authority.exists():
        return False
    with host.host.network(), pages_of(host, authority) as pages:
        try:
            return bool(pages.request("GET", "/api/v1/_ping").data == b"OK")
        except urllib3.exceptions.HTTPError:
            return False


def pages_of(host: BareHost, authority: Path) -> urllib3.HTTPSConnectionPool:
    """Connections to the Console on *host*, whose authority is known."""
    tls = ssl.create_default_context(cafile=authority)
    return urllib3.HTTPSConnectionPool(
        host.address, 8083, ssl_context=tls, retries=False, timeout=2
    )


def power_off(host: BareHost) -> None:
    """End every program on *host* at once."""
    host.host.signal_all(signal.SIGKILL)


def start(host: BareHost) -> None:
    """Start the Console again, as a boot would."""
    host.bash("/opt/twistlock/twistlock.sh start")


def uninstall(host: BareHost) -> str:
    """Take the Console off *host*, as the manual says; what that printed."""
    command = as_written("sudo /opt/twistlock/twistlock.sh -u")
    return host.at_terminal(command, typed="uninstall")
