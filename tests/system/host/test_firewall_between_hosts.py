"""The rules that nftables gets let nodes in, and no other host."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.laboratory import Host, Laboratory
from twistlock_console.system.firewall_rules import firewall_rules

PORTS = (27017, 8086)
OPEN_PORT = 8083


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Hosts without a Console."""
    with Laboratory(tmp_path) as made:
        yield made


def set_rules(host: Host, rules: str) -> None:
    """Put *rules* in force on *host*."""
    command = ["nsenter", f"--net=/proc/{host.pid}/ns/net", "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, timeout=120, check=True)


def reachable(source: Host, target: str) -> set[int]:
    """Return the ports of *target* to which *source* can connect."""
    found = set()
    for port in (*PORTS, OPEN_PORT):
        with source.network():
            try:
                socket.create_connection((target, port), timeout=120).close()
            except ConnectionRefusedError:
                continue
            found.add(port)
    return found


@pytest.mark.needs("ip", "nft", "nsenter", "unshare", root=True)
def test_only_nodes_get_through(laboratory: Laboratory) -> None:
    """Setting them again replaces them, and other ports are not touched."""
    node, other, stranger = (laboratory.host(name) for name in ("h1", "h2", "client"))
    everything = {*PORTS, OPEN_PORT}
    with ExitStack() as things:
        with node.network():
            for port in everything:
                server = socket.create_server((node.address, port))
                things.enter_context(server)
        assert reachable(stranger, node.address) == everything

        set_rules(node, firewall_rules(node.address, [], PORTS))
        assert reachable(other, node.address) == {OPEN_PORT}

        set_rules(node, firewall_rules(node.address, [other.address], PORTS))
        assert reachable(other, node.address) == everything
        assert reachable(stranger, node.address) == {OPEN_PORT}
        assert reachable(node, node.address) == everything
