"""Defenders for tests: certificates of our authority, and one websocket each."""

import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pymongo.database import Database
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.hosts.waiting import wait_for
from twistlock_console.pki.authority import CERTIFICATE_VALIDITY_DAYS, sign_request
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.protocol import (
    DefenderHello,
    Event,
    Events,
    FromDefender,
    TroubleEvent,
    encode,
)
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind
from twistlock_console.settings import Settings

PATIENCE = 60.0
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def trouble(number: int, sentence: str = "no permission") -> TroubleEvent:
    """A small event."""
    return TroubleEvent(number, NOON, sentence)


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for *true* to give something, and give it; fail when it does not."""
    return wait_for(true, seconds, "what a test of Defenders looks for", every=0.02)


class Dialled:
    """One Defender's connection."""

    def __init__(self, connection: ClientConnection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.epoch = int(self.read()["epoch"])

    def read(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next message of the Console."""
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=seconds))
        return message

    def read_type(self, kind: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next message of this type; others are passed over."""
        while (message := self.read(seconds))["type"] != kind:
            pass
        return message

    def send(self, message: FromDefender | str | bytes) -> None:
        """Send a message, or anything."""
        raw = message if isinstance(message, str | bytes) else encode(message)
        self.connection.send(raw)

    def greet(self, policy: str = "") -> "Dialled":
        """Say hello."""
        self.send(DefenderHello(self.name, "26.11.1", policy=policy))
        return self

    def report(self, *events: Event) -> int:
        """Send events; gives the number through which they are acknowledged."""
        self.send(Events(events))
        return int(self.read_type("ack")["through"])

    def ending(self) -> tuple[int, str]:
        """Wait for the server's goodbye; its code and reason."""
        try:
            while True:
                self.connection.recv(timeout=PATIENCE)
        except ConnectionClosed as closed:
            received = closed.rcvd
            return (received.code, received.reason) if received else (1006, "")


def seconds_until_acknowledged(neighbour: Dialled, number: int) -> float:
    """Report one event; return how long its acknowledgement took."""
    began = time.monotonic()
    assert neighbour.report(trouble(number)) == number
    return time.monotonic() - began


def is_cut(connection: socket.socket, seconds: float = PATIENCE) -> bool:
    """Return whether the server ends *connection* within *seconds*."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def masked(text: bytes, announced: int | None = None) -> bytes:
    """Write a text frame, whose head may announce more than there is."""
    size = len(text) if announced is None else announced
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65536:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    return head + bytes(4) + text


class FleetClient:
    """Issues certificates and dials the server of *settings*."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._certificates = settings.folders.certificates
        self.port = settings.communication_port
        self._folder = folder
        self._open = ExitStack()

    def certificate(self, name: str) -> x509.Certificate:
        """The certificate of the Defender *name*, issued when first asked for."""
        path = self._folder / f"{name}.pem"
        if not path.exists():
            make_key(self._folder / f"{name}-key.pem")
            request = make_request(self._folder / f"{name}-key.pem", name)
            pem = sign_request(
                self._certificates,
                request,
                usage=Usage.DEFENDER,
                common_name=name,
                names=[],
            )
            path.write_bytes(pem)
        return x509.load_pem_x509_certificate(path.read_bytes())

    def replace_certificate(self, name: str, pem: bytes) -> None:
        """Use another certificate for the same key."""
        (self._folder / f"{name}.pem").write_bytes(pem)

    def key(self, name: str) -> Path:
        """Where the Defender's key is."""
        return self._folder / f"{name}-key.pem"

    def tls(self, name: str) -> ssl.SSLContext:
        """The TLS context of the Defender *name*."""
        self.certificate(name)
        context = ssl.create_default_context(cafile=self._certificates / "ca.pem")
        context.load_cert_chain(self._folder / f"{name}.pem", self.key(name))
        return context

    def dial(self, name: str) -> Dialled:
        """Connect, and read the Console's hello."""
        return Dialled(self._open.enter_context(self._connect(name)), name)

    def _connect(self, name: str) -> ClientConnection:
        return connect(
            f"wss://127.0.0.1:{self.port}",
            ssl=self.tls(name),
            open_timeout=PATIENCE,
            close_timeout=1,
            ping_interval=None,
            compression=None,
        )

    def raw(self, name: str) -> ssl.SSLSocket:
        """Open a websocket by hand; nothing is read of it."""
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        client = self.tls(name).wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        return self._open.enter_context(client)

    def refusal(self, name: str) -> tuple[int, str]:
        """Connect with a certificate that is refused; the code and reason.

        Fails if the Console says anything else before.
        """
        with self._connect(name) as connection:
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv(timeout=PATIENCE)
            assert caught.value.rcvd
            return caught.value.rcvd.code, caught.value.rcvd.reason

    def hang_up(self) -> None:
        """Close all connections."""
        self._open.close()


def revoke_certificate(
    database: Database[dict[str, Any]], defender: str, serial: str
) -> None:
    """Revoke the certificate *serial* (hex), whose end is not known."""
    expires = datetime.now(UTC) + timedelta(days=CERTIFICATE_VALIDITY_DAYS)
    store.revoke(
        database, RevocationKind.CERTIFICATE, serial, owner=defender, expires=expires
    )
