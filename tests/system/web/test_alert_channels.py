"""Rules of the channels of alerts: webhooks with and without TLS, and syslog."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.web.alert_receiver import ALERTS, LOGGING, SECRET, Receiver, hook, webhook
from tests.web.web_visitor import Visitor, basic
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port of the loopback interface on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_test_tries_every_channel(
    admin: Visitor, receiver: Receiver, closed_port: int, tmp_path: Path
) -> None:
    """A failed channel does not stop the test of others; each has its own result."""
    receiver.status = 500
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    with listening("unix", tmp_path) as (address, taken):
        syslog = {"syslog": {"enabled": True, "addr": address}}
        admin.call(LOGGING, syslog, Authorization=basic())
        answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        text = taken().decode()
    refused = {"syslog": {"enabled": True, "addr": f"tcp://127.0.0.1:{closed_port}"}}
    admin.call(LOGGING, refused, Authorization=basic())
    receiver.status = 200
    admin.send("/manage/alerts/test", form_on="/manage/alerts/alerts")
    page = admin.get("/manage/alerts/alerts").text
    history = admin.get("/api/v1/audits/mgmt", Authorization=basic()).get_json()

    assert answer.status_code == 400
    webhook_failed = "the webhook at 127.0.0.1 answered with status 500"
    assert (
        answer.get_json()["err"] == f"{webhook_failed}; syslog: {address} accepted it"
    )
    assert 'log_type="test"' in text
    assert "The webhook at 127.0.0.1 accepted it." in page
    assert f"The syslog server tcp://127.0.0.1:{closed_port} did not accept it" in page
    failed = [each for each in history if "sent a test alert" in each["status"]]
    assert [each["failure"] for each in failed] == [True, True]
    assert webhook_failed in failed[1]["status"]


def silent(connection: socket.socket) -> None:
    connection.settimeout(10)
    with suppress(OSError):
        while connection.recv(1024):
            pass


def rude(connection: socket.socket) -> None:
    connection.sendall(b"220 mail ready\r\n")


def ending(connection: socket.socket) -> None:
    connection.recv(1024)


def dripping(connection: socket.socket) -> None:
    """Send a header without end, each byte within the timeout of one read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    with suppress(OSError):
        while True:
            connection.sendall(b".")
            threading.Event().wait(0.05)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_test_tells_no_open_port_from_a_closed_one(
    admin: Visitor, closed_port: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the same for any server and for none, and has no Python error."""
    monkeypatch.setattr("twistlock_console.alerts.channels.DELIVERY_TIMEOUT_S", 0.5)

    def error_sentence(port: int) -> str:
        url = f"{scheme}://127.0.0.1:{port}/hook"
        body = {"webhook": {"enabled": True, "url": url, "secret": {"plain": SECRET}}}
        admin.call(ALERTS, body, Authorization=basic())
        answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        assert answer.status_code == 400
        return str(answer.get_json()["err"])

    sentences = {error_sentence(closed_port)}
    for behaviour in (silent, rude, ending, dripping):
        with answering(behaviour) as port:
            sentences.add(error_sentence(port))

    assert sentences == {
        "the webhook at 127.0.0.1 did not accept it: no connection, no response in "
        "time, or no certificate that this node trusts; see the log of this node"
    }


def test_a_webhook_over_tls_proves_its_name(
    admin: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificate must be trusted by the host and valid for the name in the URL."""
    create_authority(tmp_path)
    issue_node_certificate(tmp_path, ["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.pem", tmp_path / "node-key.pem")
    got: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as tls,
        ):
            request = b""
            # JSON ends with the body: what is left unread would break the connection.
            while not request.endswith(b"}"):
                request += tls.recv(65536)
            got.append(request)
            tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def error_sentence(host: str) -> int:
        with answering(answer) as port:
            url = f"https://{host}:{port}/hook?x=1"
            admin.call(ALERTS, webhook(url=url), Authorization=basic())
            test = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        return test.status_code

    untrusted = error_sentence("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    trusted = [error_sentence("localhost"), error_sentence("127.0.0.1")]
    other_name = error_sentence("127.0.0.2")

    assert (untrusted, trusted, other_name) == (400, [200, 200], 400)
    assert len(got) == 2
    assert got[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert b"\r\nHost: localhost:" in got[0]


@contextmanager
def answering(behaviour: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection with *behaviour*, and return the port."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - 127.0.0.0/8

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                behaviour(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("form", ["rfc5424", "rfc3164"])
@pytest.mark.parametrize("way", ["udp", "tcp", "unix"])
def test_syslog_takes_it(admin: Visitor, tmp_path: Path, form: str, way: str) -> None:
    """Alerts arrive over each kind of socket, framed as the format requires."""
    with listening(way, tmp_path) as (address, taken):
        body = {"syslog": {"enabled": True, "addr": address, "format": form}}
        admin.call(LOGGING, body, Authorization=basic())
        answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        text = taken().decode()

    assert answer.status_code == 200, answer.get_json()
    assert 'type="alert" log_type="test"' in text
    if way == "tcp" and form == "rfc5424":
        length, _, rest = text.partition(" ")
        assert int(length) == len(rest)
    elif way == "tcp":
        assert text.endswith("\n")


class listening:  # noqa: N801 - it reads as a phrase
    """A syslog server over a socket of kind *way*; it collects what it receives."""

    def __init__(self, way: str, folder: Path) -> None:
        family = socket.AF_UNIX if way == "unix" else socket.AF_INET
        kind = socket.SOCK_STREAM if way == "tcp" else socket.SOCK_DGRAM
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(10)
        path = str(folder / "log")
        self.socket.bind(path if way == "unix" else ("127.0.0.1", 0))
        if way == "tcp":
            self.socket.listen()
        self.way = way
        port = "" if way == "unix" else self.socket.getsockname()[1]
        self.address = (
            f"unix://{path}" if way == "unix" else f"{way}://127.0.0.1:{port}"
        )

    def __enter__(self) -> tuple[str, Callable[[], bytes]]:
        return self.address, self.take

    def take(self) -> bytes:
        if self.way != "tcp":
            return self.socket.recv(65536)
        connection, _ = self.socket.accept()
        with connection:
            return connection.recv(65536)

    def __exit__(self, *_: object) -> None:
        self.socket.close()
