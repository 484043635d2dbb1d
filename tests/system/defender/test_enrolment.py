"""Enrolling: the Console is known by its key, and gets nothing before."""

import io
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from twistlock_console.pki.authority import create_authority, sign_request
from twistlock_console.pki.certificates import issue_node_certificate, public_key_pin
from twistlock_console.pki.tls import Usage, server_context
from twistlock_defender.cli.main import main
from twistlock_defender.common.folder import AgentSettings, Folder
from twistlock_defender.link.connection import HighestEpoch

TOKEN = "deploy-secret"


class Registrar(BaseHTTPRequestHandler):
    """The Console's side of it, for those who bring the token."""

    folder: Path
    asked: list[str]
    body: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        """Sign the request."""
        self.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Registrar.body = body
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._answer(401, {"err": "This deploy token has expired."})
        name = body["defender"]
        signed = sign_request(
            self.folder,
            body["request"].encode(),
            usage=Usage.DEFENDER,
            common_name=name,
            names=[],
        )
        authority = (self.folder / "ca.pem").read_text()
        papers = {"certificate": signed.decode(), "authority": authority}
        places = {"addresses": ["console.example", "10.0.0.1:9084"], "port": 8084}
        return self._answer(200, {**papers, **places})

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def api(console: Path, context: ssl.SSLContext) -> Iterator[tuple[str, list[str]]]:
    """The address of a Console's API, and what it was asked."""
    asked: list[str] = []
    handler = type("Handler", (Registrar,), {"folder": console, "asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def enrol(
    monkeypatch: pytest.MonkeyPatch, where: str, pin: str, folder: Path, token: str
) -> int:
    """Run the command as the install script does."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    words = ["enrol", where, "--pin", pin, "--name", "web-7", "--folder", str(folder)]
    return main(words)


def test_it_gets_all_it_needs(
    console: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key, certificate, authority and addresses; all for itself alone."""
    pin = public_key_pin((console / "node.pem").read_bytes())
    place = tmp_path / "new" / "defender"

    with api(console, server_context(console, client=None)) as (where, asked):
        code = enrol(monkeypatch, where, pin, place, TOKEN)

    assert (code, asked) == (0, ["/api/v1/defenders/enrol"])
    folder = Folder(place)
    assert folder.read_settings() == AgentSettings(
        "web-7", ("console.example:8084", "10.0.0.1:9084")
    )
    assert folder.create_tls_context().minimum_version is ssl.TLSVersion.TLSv1_3
    assert {path.stat().st_mode & 0o077 for path in place.iterdir()} == {0}


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        pytest.param(
            (None, "wrong"), "refuses: This deploy token has expired.", id="token"
        ),
        pytest.param(("sha256//AAAA", TOKEN), "has another key", id="pin"),
    ],
)
def test_a_refusal_is_told_and_leaves_nothing(
    shown: tuple[str | None, str],
    sentence: str,
    console: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A Console with another key does not even see the token."""
    pin, token = shown
    right = public_key_pin((console / "node.pem").read_bytes())

    with api(console, server_context(console, client=None)) as (where, asked):
        code = enrol(monkeypatch, where, pin or right, tmp_path / "new", token)

    assert code == 1
    assert sentence in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []
    assert bool(asked) is (pin is None)


def test_a_host_asks_again_with_the_key_that_it_has(
    console: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the Console knows it again, also where an answer was lost; not by a copy."""
    place = tmp_path / "defender"
    pin = public_key_pin((console / "node.pem").read_bytes())
    assert enrol(monkeypatch, "127.0.0.1:9", pin, place, TOKEN) == 1
    key = (place / "key.pem").read_bytes()

    first = deploy(monkeypatch, console, place)
    certificate = (place / "certificate.pem").read_text()
    second = deploy(monkeypatch, console, place)
    kept = (place / "key.pem").read_bytes()
    folder = Folder(place)
    folder.write_settings(replace(folder.read_settings(), defender="web-6"))
    deploy(monkeypatch, console, place)

    assert "certificate" not in first
    assert second["certificate"] == certificate
    assert kept == key
    assert (place / "key.pem").read_bytes() != key


def test_a_console_that_does_not_answer_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With its address."""
    code = enrol(monkeypatch, "127.0.0.1:9", "sha256//AAAA", tmp_path, TOKEN)

    assert code == 1
    assert "127.0.0.1:9 does not answer: " in capsys.readouterr().err


def test_another_console_is_obeyed_whatever_its_epoch(
    console: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one is not: what was seen of it holds. Rule and findings stay."""
    other = tmp_path / "other"
    other.mkdir()
    create_authority(other)
    issue_node_certificate(other, ["127.0.0.1"])
    place = tmp_path / "defender"
    place.mkdir()
    names = {"checks-ran", "policy.json", "outbox.db", "baseline.db"}
    for name in names:
        (place / name).touch()
    assert HighestEpoch(place / "epoch").accept(9)

    deploy(monkeypatch, console, place)
    deploy(monkeypatch, console, place)
    assert HighestEpoch(place / "epoch").value == 9
    assert names <= {path.name for path in place.iterdir()}
    deploy(monkeypatch, other, place)

    assert HighestEpoch(place / "epoch").value == 0
    left = names & {path.name for path in place.iterdir()}
    assert left == names - {"checks-ran"}


def deploy(
    monkeypatch: pytest.MonkeyPatch, console: Path, place: Path
) -> dict[str, str]:
    """Enrol at *console* what is in *place*; gives what it asked for."""
    pin = public_key_pin((console / "node.pem").read_bytes())
    with api(console, server_context(console, client=None)) as (where, _):
        assert enrol(monkeypatch, where, pin, place, TOKEN) == 0
    return Registrar.body
