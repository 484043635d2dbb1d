"""Hosts on one switch: each a set of namespaces with an address of its own.

The switch is a bridge in a network namespace that belongs to no host, so cutting one
host's cable touches nobody else. The addresses exist nowhere outside.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.hosts.firewall import Firewall
from tests.hosts.namespaces import Namespaces

PREFIX = "10.77.0."
ADDRESSES = {
    "h1": f"{PREFIX}11",
    "h2": f"{PREFIX}12",
    "h3": f"{PREFIX}13",
    "h4": f"{PREFIX}14",
    "h5": f"{PREFIX}15",
    "h6": f"{PREFIX}16",
    "h7": f"{PREFIX}17",
    "h8": f"{PREFIX}18",
    "lb": f"{PREFIX}50",
    "client": f"{PREFIX}100",
}


class Host(Namespaces):
    """One host: *name*, *address*, its *folder* for files, and its *firewall*."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.address = ADDRESSES[name]
        super().__init__()
        self.folder = folder
        self.firewall = Firewall(self.run_in_network)


class Laboratory:
    """Makes hosts below *root* and connects them; a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._things = ExitStack()
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self._switch = Namespaces()
        self._things.callback(self._switch.close)
        self._switch.run_in_network("ip", "link", "add", "switch", "type", "bridge")
        self._switch.run_in_network("ip", "link", "set", "switch", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._things.close()

    def host(self, name: str) -> Host:
        """The host called *name*, made and connected when it is first asked for."""
        if name not in self._hosts:
            folder = self.root / name
            folder.mkdir(parents=True, exist_ok=True)
            host = Host(name, folder)
            self._things.callback(host.close)
            self._connect(host)
            self._hosts[name] = host
        return self._hosts[name]

    def set_cable(self, host: Host, state: str) -> None:
        """Make the host's cable "up" or "down", at the host's own end."""
        host.run_in_network("ip", "link", "set", "eth0", state)

    def _connect(self, host: Host) -> None:
        ip = self._switch.run_in_network
        pair = ["type", "veth", "peer", "name", "eth0", "netns", str(host.pid)]
        ip("ip", "link", "add", host.name, *pair)
        ip("ip", "link", "set", host.name, "master", "switch", "up")
        ip = host.run_in_network
        ip("ip", "link", "set", "lo", "up")
        ip("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("ip", "link", "set", "eth0", "up")
