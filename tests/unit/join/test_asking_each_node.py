"""A host that waits to be admitted asks each node it knows, and learns of more."""

import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from plugins.ha.membership.join_client import (
    INVITATION,
    TRIES_BEFORE_ADVICE,
    JoinInvitation,
    PinnedClient,
    PinnedRequest,
)
from twistlock_console.common.atomic_files import write_secret
from twistlock_console.common.errors import Refused
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate, public_key_pin
from twistlock_console.pki.tls import server_context
from twistlock_console.settings import Folders

SILENT, SERVING, HERE = "127.0.0.91", "127.0.0.92", "127.0.0.93"
QUESTION = PinnedRequest("GET", "/request")
TOLD = {SERVING: "sha256//B", HERE: "sha256//C"}
FIRST = JoinInvitation(SILENT, 8083, "sha256//A", "token")


class Primary(BaseHTTPRequestHandler):
    """Answers that it was reached."""

    def do_GET(self) -> None:
        """Give the address that was asked."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"asked": self.server.server_address[0]}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of the node that serves."""
    folder = tmp_path_factory.mktemp("keys")
    create_authority(folder)
    issue_node_certificate(folder, [SERVING])
    return folder


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """The node that serves, at a port that is closed on the other."""
    with HTTPServer((SERVING, 0), Primary) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def told_of(keys: Path, port: int, pin: str = "") -> JoinInvitation:
    """An invitation of the silent node, whose cluster told of the serving one."""
    pin = pin or public_key_pin((keys / "node.pem").read_bytes())
    return JoinInvitation(SILENT, port, "sha256//A", "token", {SERVING: pin})


def give_up_after(pauses: int) -> Callable[[float], None]:
    """A pause that ends the wait at last."""
    left = iter(range(pauses))

    def pause(_seconds: float) -> None:
        if next(left, None) is None:
            raise TimeoutError("nobody answered")

    return pause


def test_it_asks_the_next_node_when_one_does_not_answer(keys: Path) -> None:
    """And stays with the one that did."""
    with listening(server_context(keys, client=None)) as port:
        client = PinnedClient(told_of(keys, port), source=HERE)

        answers = [
            client.request_until_answered(QUESTION, give_up_after(n)) for n in (1, 0)
        ]

    assert answers == [{"asked": SERVING}] * 2
    assert client.address == SERVING


def test_a_node_that_shows_another_key_is_refused(keys: Path) -> None:
    """The pin that the cluster told of it counts as much as the command's."""
    with listening(server_context(keys, client=None)) as port:
        client = PinnedClient(told_of(keys, port, "sha256//B"), source=HERE)

        with pytest.raises(Refused, match=f"{SERVING} shows another key"):
            client.request_until_answered(QUESTION, give_up_after(1))


def test_after_a_while_without_an_answer_it_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The role may have moved before anybody told it of the others."""
    with socket.create_server((SILENT, 0)) as taken:
        port = taken.getsockname()[1]
    client = PinnedClient(
        JoinInvitation(SILENT, port, "sha256//A", "token"), source=HERE
    )

    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError):
        client.request_until_answered(QUESTION, give_up_after(TRIES_BEFORE_ADVICE))

    advised = ["copy a new join command" in said for said in caplog.messages]
    assert advised == [False] * TRIES_BEFORE_ADVICE + [True]


def test_what_the_cluster_tells_outlives_a_restart(tmp_path: Path) -> None:
    """The host that waits may be started again, and asks the same nodes."""
    folders = Folders(tmp_path)
    folders.create()
    FIRST.with_peers(TOLD).write(folders)

    found = JoinInvitation.read(folders)

    assert found == FIRST.with_peers(TOLD)
    assert list(found.pins.items()) == [
        (SILENT, "sha256//A"),
        (SERVING, "sha256//B"),
        (HERE, "sha256//C"),
    ]


@pytest.mark.parametrize("nodes", [None, {}])
def test_an_answer_without_nodes_changes_nothing(nodes: dict[str, str] | None) -> None:
    """A primary that has just begun may not know them yet."""
    assert FIRST.with_peers(nodes) == FIRST
    assert FIRST.with_peers(TOLD).with_peers(nodes) == FIRST.with_peers(TOLD)


def test_the_invitation_of_a_join_command_names_one_node(tmp_path: Path) -> None:
    """As the join script writes it."""
    folders = Folders(tmp_path)
    folders.create()
    stored = {"address": SILENT, "port": 8083, "pin": "sha256//A", "token": "token"}
    write_secret(folders.secrets / INVITATION, json.dumps(stored).encode())

    assert JoinInvitation.read(folders) == FIRST
