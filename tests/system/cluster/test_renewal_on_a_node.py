"""A node's certificate is renewed while it serves, and nobody notices."""

import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from cryptography import x509
from pymongo.errors import PyMongoError
from websockets.sync.client import connect as open_websocket

from tests.cluster.alone_node import PROJECT, AloneNode
from tests.faults.asking import as_defender
from tests.hosts.waiting import wait_for
from twistlock_console.database.client import (
    Client,
    connect,
    credentials_for,
    reload_certificate,
)
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.identity_files import (
    load_certificate,
    make_key,
    make_request,
    names_in,
)
from twistlock_console.pki.tls import Usage, client_context
from twistlock_console.protocol import DefenderHello, Ping, encode


class Visitor:
    """Somebody with a connection to each kind of port, which stands."""

    def __init__(self, node: AloneNode, papers: Path, things: ExitStack) -> None:
        settings = node.settings
        self.ports = [
            settings.management_port_https,
            settings.communication_port,
            settings.node_api_port,
            settings.database_port,
        ]
        self.address = settings.node_address
        self.folder = settings.folders.certificates
        self.defender = as_defender(papers)
        self.page = self.open(self.ports[0])
        things.enter_context(self.page)
        uri = f"wss://{self.address}:{self.ports[1]}"
        self.websocket = open_websocket(uri, ssl=self.defender)
        things.enter_context(self.websocket)
        self.websocket.recv()
        self.websocket.send(encode(DefenderHello("web-1", "1")))
        user = credentials_for(settings, "console")
        self.database: Client = connect(settings, user, app_name="visitor")
        things.enter_context(self.database)

    def open(self, port: int) -> ssl.SSLSocket:
        """A new connection to *port*."""
        ours = port != self.ports[1]
        context = client_context(self.folder) if ours else self.defender
        plain = socket.create_connection((self.address, port), timeout=120)
        return context.wrap_socket(plain, server_hostname=self.address)

    def serials(self) -> set[int]:
        """The serial numbers of the certificates that new connections see."""
        found = set()
        for port in self.ports:
            with self.open(port) as tls:
                der = tls.getpeercert(binary_form=True)
                assert der is not None
                found.add(x509.load_der_x509_certificate(der).serial_number)
        return found

    def ask(self) -> str:
        """Ask over each connection that stands; the database says which one it is."""
        self.page.sendall(b"GET /api/v1/_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nOK"):
            answer += self.page.recv(4096) or b"closed\r\n\r\nOK"
        assert answer.startswith(b"HTTP/1.1 200"), answer
        self.websocket.send(encode(Ping()))
        while "pong" not in str(self.websocket.recv(timeout=120)).lower():
            pass  # its policy, after the greeting
        return str(self.database.admin.command("whatsmyuri")["you"])


@pytest.fixture(scope="module")
def papers(node: AloneNode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Defender's certificate and key, and the authority."""
    folder = tmp_path_factory.mktemp("papers")
    make_papers(node, folder)
    return folder


def make_papers(node: AloneNode, folder: Path) -> None:
    """Leave the certificate and key of a Defender in *folder*, and the authority."""
    ours = node.settings.folders.certificates
    make_key(folder / "key.pem")
    request = make_request(folder / "key.pem", "web-1")
    signed = sign_request(
        ours, request, usage=Usage.DEFENDER, common_name="web-1", names=["web-1"]
    )
    (folder / "certificate.pem").write_bytes(signed)
    (folder / "ca.pem").write_bytes((ours / "ca.pem").read_bytes())


def own(node: AloneNode) -> x509.Certificate:
    """The certificate of the service ports on disk."""
    return load_certificate(node.settings.folders.certificates / "node.pem")


def serials_on_disk(node: AloneNode) -> set[int]:
    """The serial numbers of that one, and of the one for MongoDB and node API."""
    folder = node.settings.folders.certificates
    cluster = load_certificate(folder / "cluster-bundle.pem")
    return {own(node).serial_number, cluster.serial_number}


def run(node: AloneNode, *words: str) -> str:
    """Run the command line; what it printed."""
    command = [sys.executable, "app.py", *words, "--config", str(node.config)]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def test_renewal_interrupts_nobody(node: AloneNode, papers: Path) -> None:
    """Connections stand; new ones see the new certificate, on each of the ports."""
    with ExitStack() as things:
        visitor = Visitor(node, papers, things)
        connection = visitor.ask()
        before, pids = own(node), node.status()["pids"]
        known = serials_on_disk(node)
        assert visitor.serials() == known

        said = run(node, "certs", "renew")

        after = own(node)
        assert after.serial_number != before.serial_number
        assert said.startswith(f"Renewed until {after.not_valid_after_utc:%Y-%m-%d}")
        assert serials_on_disk(node).isdisjoint(known)
        renewed = serials_on_disk(node)
        wait_for(lambda: visitor.serials() == renewed, 10, "all show them")
        assert visitor.ask() == connection
        status, ends = node.status(), after.not_valid_after_utc
        assert status["pids"] == pids
        assert status["certificateExpires"] == ends.isoformat(timespec="seconds")
    trail = connect(
        node.settings, credentials_for(node.settings, "console"), app_name="t"
    )
    with trail as client:
        found = client["twistlock"]["audits_mgmt"].find_one(sort=[("time", -1)])
    assert found is not None
    assert "renewed the certificate" in found["status"]


def test_a_certificate_near_its_end_is_renewed_by_itself(
    node: AloneNode, papers: Path
) -> None:
    """Nobody has to do anything, and no connection is cut."""
    with ExitStack() as things:
        visitor = Visitor(node, papers, things)
        connection = visitor.ask()
        names = sorted(names_in(own(node)))
        issue_node_certificate(visitor.folder, names, days=50)
        old = own(node).serial_number

        wait_for(lambda: own(node).serial_number != old, 20, "it is renewed")

        wait_for(
            lambda: visitor.serials() == serials_on_disk(node), 10, "all show them"
        )
        assert (
            own(node).not_valid_after_utc - own(node).not_valid_before_utc
        ).days > 1000
        assert visitor.ask() == connection


def test_database_clients_follow(node: AloneNode, tmp_path: Path) -> None:
    """A client that would show an ended certificate for ever shows the new one."""
    for name in ("certificates", "secrets"):
        folder = getattr(node.settings.folders, name)
        copytree(folder, tmp_path / name)
    settings = replace(node.settings, data_folder=tmp_path)
    names = sorted(names_in(own(node)))
    issue_node_certificate(tmp_path / "certificates", names, days=0)
    user = credentials_for(settings, "console")
    with connect(settings, user, app_name="ended", timeout_ms=2000) as client:
        with pytest.raises(PyMongoError):
            client.admin.command("ping")

        issue_node_certificate(tmp_path / "certificates", names)
        reload_certificate(settings)

        assert client.admin.command("ping")["ok"] == 1


def test_show(node: AloneNode) -> None:
    """The command line says when each certificate ends, and for what it is."""
    said = run(node, "certs", "show").splitlines()

    for line, name in zip(
        said,
        ("ca.pem", "node.pem", "cluster-ca.pem", "cluster-bundle.pem"),
        strict=False,
    ):
        assert line.startswith(f"{name:<18} expires on ")
    assert node.settings.node_address in said[1]
    assert node.settings.node_address in said[3]
    assert said[4] == "MongoDB and node API: accept cluster-ca.pem alone"
