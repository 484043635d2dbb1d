"""The node API's connections: they stay, and no request is taken for another."""

import http.client
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import request
from flask.typing import ResponseReturnValue

from tests.hosts.ports import free_port
from tests.hosts.waiting import wait_for
from tests.listeners.listener_clients import PATIENCE_S
from twistlock_console.common.errors import DatabaseError, NodeUnreachable
from twistlock_console.node_api.client import NodeClient
from twistlock_console.node_api.server import MAX_BODY_BYTES, NodeApi, caller, node_app
from twistlock_console.pki.tls import client_context
from twistlock_console.settings import Settings


@pytest.fixture
def connection(settings: Settings) -> Iterator[http.client.HTTPSConnection]:
    """A node's connection to a node API that gives back what it is sent."""
    port = free_port()
    app = node_app()

    @app.route("/v1/echo", methods=["GET", "POST"])
    def echo() -> ResponseReturnValue:
        return {"caller": caller().address, "sent": request.get_data(as_text=True)}

    api = NodeApi(replace(settings, node_api_port=port), app)
    api.open()
    tls = client_context(settings.folders.certificates)
    asking = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=PATIENCE_S, context=tls
    )
    asking.connect()
    yield asking
    asking.close()
    api.close()


def ask(
    asking: http.client.HTTPSConnection, method: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Ask on the connection; the status and the answer."""
    asking.request(method, "/v1/echo", body)
    answer = asking.getresponse()
    return answer.status, answer.read()


def test_a_connection_stays(connection: http.client.HTTPSConnection) -> None:
    """Questions and orders go over one: a handshake costs more than a heartbeat."""
    one = connection.sock
    told = [ask(connection, "GET"), ask(connection, "POST", b"x" * 70_000)]
    told += [ask(connection, "GET"), ask(connection, "POST", b"GET / HTTP/1.1\r\n\r\n")]

    assert connection.sock is one
    assert [status for status, _ in told] == [200] * 4
    assert all(b'"caller":"127.0.0.1"' in text for _, text in told)
    assert b"GET / HTTP/1.1" in told[3][1]


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "many", "-1"])
def test_what_is_not_read_ends_it(
    connection: http.client.HTTPSConnection, length: str
) -> None:
    """A body that nobody read must not be taken for the next request."""
    connection.putrequest("POST", "/v1/echo")
    connection.putheader("Content-Length", length)
    connection.endheaders(b"GET /v1/echo HTTP/1.1\r\n\r\n")
    received = b""
    while piece := connection.sock.recv(65536):
        received += piece

    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith((b"HTTP/1.1 411", b"HTTP/1.1 413"))


def test_an_answer_that_asks_to_wait_says_how_long() -> None:
    """The database does not answer: 503, a sentence, and seconds to wait."""
    app = node_app()

    def fail() -> None:
        raise DatabaseError("mongod does not answer")

    app.add_url_rule("/v1/fail", view_func=fail)
    answer = app.test_client().get("/v1/fail")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


def test_the_connections_of_a_node_that_stops_are_closed(settings: Settings) -> None:
    """Not frozen: its standing connections end with the port."""
    app = node_app()
    app.add_url_rule("/v1/well", view_func=lambda: {"well": True})
    alone = replace(settings, node_api_port=free_port())
    api = NodeApi(alone, app)
    api.open()
    with NodeClient(alone, "127.0.0.1") as client:
        assert client.get("/v1/well") == {"well": True}
        api.close()

        def refuses() -> bool:
            with pytest.raises(NodeUnreachable) as caught:
                client.get("/v1/well")
            return caught.value.refused

        # The first question may still meet the end of the standing connection.
        wait_for(refuses, 5, "it refuses")
