"""The service ports are open over IPv6 too, where the host has it."""

import errno
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.listeners.listener_clients import read_answer, send_request
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor.sockets import accepts
from twistlock_console.settings import Settings
from twistlock_console.settings.host import lacks_ipv6

MakePorts = Callable[..., ServicePorts]
BIND = """
from twistlock_console.servers.supervisor.sockets import bind_all
print([each.getsockname()[0] for each in bind_all([("127.0.0.1", 0), ("::1", 0)], 1)])
"""


@pytest.fixture
def everywhere(settings: Settings) -> Settings:
    """Settings of a node that listens on all addresses of its host."""
    return replace(settings, node_address="192.0.2.1")


def ask(host: str, port: int) -> tuple[int, bytes]:
    """Ask *host* for the address that it sees us come from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), 5) as plain,
        context.wrap_socket(plain) as client,
    ):
        send_request(client, "/address")
        return read_answer(client)


def test_each_port_answers_over_both(
    make_ports: MakePorts, everywhere: Settings
) -> None:
    """A client has the address it comes from; closed ports refuse over both."""
    ports = make_ports(settings=everywhere)
    ports.open_all()
    pages = (everywhere.management_port_https, everywhere.management_port_ui)
    everything = [*pages, everywhere.communication_port]
    answers = [ask(host, port) for port in pages for host in ("127.0.0.1", "::1")]
    opened = [accepts(("::", port)) for port in everything]
    ports.close_all()

    assert answers == [(200, b"127.0.0.1"), (200, b"::1")] * 2
    assert opened == [True] * 3
    for host in everywhere.service_addresses:
        assert [accepts((host, port)) for port in everything] == [False] * 3


@pytest.mark.needs("unshare", root=True)
def test_a_host_without_ipv6_is_served_without() -> None:
    """A network that is not up has no address of IPv6, not even its own."""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", BIND],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == "['127.0.0.1']\n"


@pytest.mark.parametrize(
    ("address", "number", "lacks"),
    [
        ("::", errno.EAFNOSUPPORT, True),
        ("::", errno.EADDRNOTAVAIL, True),
        ("::", errno.EADDRINUSE, False),
        ("10.0.0.5", errno.EADDRNOTAVAIL, False),
    ],
)
def test_what_says_that_a_host_has_no_ipv6(
    address: str, number: int, *, lacks: bool
) -> None:
    """A port that another program has is something else."""
    assert lacks_ipv6(address, OSError(number, "")) is lacks
