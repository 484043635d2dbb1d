"""On each port, a crowd of slow strangers keeps nobody else from being served.

What the management server does with them in detail is in test_slow_clients.py, and the
node API in test_hostile_node_api.py.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.listeners.listener_clients import PATIENCE_S, get
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings

CROWD = 150
STRANGER = "127.0.0.3"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


def connect(port: int) -> socket.socket:
    """Connect from an address that nobody else uses."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S, (STRANGER, 0))


def crowd(stack: ExitStack, port: int) -> list[socket.socket]:
    """Half of them say nothing; the others begin a handshake, and stop."""
    clients = [stack.enter_context(connect(port)) for _ in range(CROWD)]
    for client in clients[::2]:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return clients


def ask_as_defender(settings: Settings) -> bytes:
    """Shake hands with a Defender's certificate, and ask for what is no websocket."""
    folder = settings.folders.certificates
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "defender-1.pem", folder / "defender-1-key.pem")
    address = ("127.0.0.1", settings.communication_port)
    with (
        socket.create_connection(address, PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return client.recv(1024)


def test_browsers_are_served(
    ports: ServicePorts, settings: Settings, stack: ExitStack
) -> None:
    """The port of the pages has the same patience as the one of the API."""
    ports.open_all()
    crowd(stack, settings.management_port_ui)

    assert get(settings.management_port_ui)[0] == 200


@pytest.mark.usefixtures("mongod")
def test_defenders_are_served(
    ports: ServicePorts, settings: Settings, stack: ExitStack
) -> None:
    """A Defender gets its answer through the crowd."""
    ports.open_all()
    crowd(stack, settings.communication_port)

    assert ask_as_defender(settings).startswith(b"HTTP/1.1 4")
