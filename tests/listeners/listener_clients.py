"""Clients and watchers that the tests of the listeners share."""

import os
import socket
import ssl
from pathlib import Path

MANY = 3
PATIENCE_S = 60.0
"""How long to wait for what must come; no test judges by it how soon it came."""


def tls_client(
    port: int, timeout: float = PATIENCE_S, *, source: str = "127.0.0.1"
) -> ssl.SSLSocket:
    """Connect with TLS from *source*, as a browser that trusts everyone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain)


def send_request(client: ssl.SSLSocket, path: str = "/") -> None:
    """Send a GET whose connection stays open."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def read_answer(client: ssl.SSLSocket) -> tuple[int, bytes]:
    """Read a whole response: its status and its body, which has a length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(client)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(at[15:]) for at in lines if at.startswith(b"content-length:"))
    while len(body) < length:
        body += _more(client)
    return int(head.split()[1]), body


def _more(client: ssl.SSLSocket) -> bytes:
    received = client.recv(65536)
    if not received:
        raise ConnectionResetError("the server closed the connection")
    return received


def get(
    port: int,
    path: str = "/",
    timeout: float = PATIENCE_S,
    *,
    source: str = "127.0.0.1",
) -> tuple[int, bytes]:
    """Ask once, on a connection of its own."""
    with tls_client(port, timeout, source=source) as client:
        send_request(client, path)
        return read_answer(client)


def is_cut(client: socket.socket, seconds: float = PATIENCE_S) -> bool:
    """Say whether the server's end is gone, within *seconds*."""
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def refuses(port: int) -> bool:
    """Say whether a connection is refused; nothing else counts.

    One that was queued while the port closed is reset.
    """
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def group_of(pid: int) -> list[int]:
    """Give the processes of the group that *pid* leads, zombies left out."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _group_and_state(entry) == (pid, True)
    ]


def _group_and_state(entry: Path) -> tuple[int, bool] | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[2]), fields[0] not in "ZX"


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def signal_group(pid: int, number: int) -> None:
    """Send a signal to all processes of a group, if it is there."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
