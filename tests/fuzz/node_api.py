"""The API between nodes: heads, bodies, answers, heartbeats, what follows of them."""

import io
import json
from functools import cache
from typing import Any, cast

from flask import Flask

from plugins.ha.consensus.state import Peer
from plugins.ha.messages import (
    AddressBody,
    AdmittedResponse,
    ClusterResponse,
    JoinRequestBody,
    JoinResponse,
    JoinTokenResponse,
    MetricsResponse,
    NewTokenResponse,
    OpenTokenResponse,
    RecoveryResponse,
    TargetBody,
    TokenIdBody,
    TokenOwnerBody,
    TokenUseBody,
)
from plugins.ha.peers.heartbeats import Heartbeat, peer_from_heartbeat
from tests.fuzz.parsers import Parser, allowed
from tests.web.fake_node_api import CLUSTER, TOKEN
from twistlock_console.common.errors import NodeUnreachable
from twistlock_console.common.json_members import load_json
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.node_api.server import Handler, node_app, sent_json

HEARTBEAT = {
    "address": "10.0.0.2",
    "state": "SECONDARY",
    "writable": False,
    "mongodAlive": True,
    "primary": "10.0.0.1",
    "optime": [7, 1],
    "holding": 3,
    "taking": False,
    "hears": ["10.0.0.1"],
    "resting": False,
    "version": "26.11.0",
    "reason": "r",
    "cause": "",
}
JOIN = {
    "address": "10.0.0.2",
    "version": "26.11.0",
    "request": "-----BEGIN CERTIFICATE REQUEST-----",
    "token": "join-x",
}
BODIES = (
    AddressBody,
    TargetBody,
    TokenOwnerBody,
    TokenIdBody,
    TokenUseBody,
    JoinRequestBody,
)
ANSWERS: tuple[tuple[type[NodeMessage], Any], ...] = (
    (ClusterResponse, CLUSTER),
    (NewTokenResponse, TOKEN),
    (JoinTokenResponse, {**TOKEN, "command": "curl"}),
    (OpenTokenResponse, {"id": "1", "expiresAt": TOKEN["expiresAt"], "host": None}),
    (AdmittedResponse, {"admitted": ["10.0.0.2"]}),
    (MetricsResponse, {"text": "up 1"}),
    (RecoveryResponse, {"address": "a", "others": ["b"], "storedUntil": None}),
    (
        JoinResponse,
        {
            "state": "APPROVED",
            "certificate": "x",
            "clusterCertificate": "y",
            "authority": "z",
            "clusterAuthorities": "z",
            "nodes": {"10.0.0.2": "p"},
        },
    ),
)
EXAMPLES = tuple(json.dumps(each).encode() for each in (HEARTBEAT, JOIN, {"id": "1"}))
ANSWER_SAMPLES = tuple(json.dumps(answer).encode() for _, answer in ANSWERS)


@cache
def app() -> Flask:
    """Return the application of the node API, with a route for each kind of body."""
    made = node_app()

    @made.post("/<int:kind>")
    def read(kind: int) -> dict[str, object]:
        return BODIES[kind].from_body(sent_json()).as_json()

    return made


def check_bodies(data: bytes) -> None:
    """Send a body to each route; the answer is the value or says what is wrong."""
    client = app().test_client()
    for kind in range(len(BODIES)):
        answer = client.post(f"/{kind}", data=data, content_type="application/json")
        assert answer.status_code in (200, 409), (answer.status_code, answer.text)
        if answer.status_code == 200:
            again = client.post(f"/{kind}", json=answer.json)
            assert again.json == answer.json


def check_answers(data: bytes) -> None:
    """Read what a node may answer as each kind of answer."""
    try:
        content = load_json(data)
    except ValueError:
        return
    for kind, _ in ANSWERS:
        with allowed(NodeUnreachable):
            found = kind.from_answer(content)
            assert kind.from_answer(found.as_json()).as_json() == found.as_json()


def check_heartbeat(data: bytes) -> None:
    """Read a heartbeat, and take over what the peer says of itself."""
    try:
        heartbeat = Heartbeat.model_validate(load_json(data))
    except ValueError:
        return
    peer = peer_from_heartbeat(Peer("10.0.0.2", 1), heartbeat, 1)
    assert peer.heard_at == 1
    assert Heartbeat.model_validate(heartbeat.as_json()) == heartbeat


class Node:
    """A node that serves a request, as far as its handler asks."""

    app: Any = staticmethod(lambda _environ, start: (start("200 OK", []), [b"x"])[1])
    caller = None
    server_address = ("10.0.0.1", 8086)
    host, port = server_address
    ssl_context = None
    multithread = multiprocess = False
    passthrough_errors = False

    def connection_of(self, _secured: object) -> "Node":
        """Return this."""
        return self

    def set_deadline(self, _seconds: float | None, *, idle: bool = False) -> None:
        """Set no deadline."""


class NodeWire:
    """A socket on which *data* arrives, and then the end."""

    def __init__(self, data: bytes) -> None:
        self.arriving = io.BytesIO(data)
        self.written = b""

    def makefile(self, *_args: object) -> io.BytesIO:
        """Return what arrives."""
        return self.arriving

    def sendall(self, data: bytes) -> None:
        """Take *data*."""
        self.written += bytes(data)

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_options: None


def check_requests(data: bytes) -> None:
    """Serve a connection: each request is answered, or the connection ends."""
    wire = NodeWire(data)
    Handler(cast(Any, wire), ("10.0.0.2", 1), cast(Any, Node()))
    # Before HTTP/1.0 an answer had no head.
    assert wire.written[:9] in (b"", b"x", b"HTTP/1.1 ", b"<!DOCTYPE")


def _request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line, "Host: 10.0.0.1", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


PARSERS = (
    Parser("bodies", check_bodies, (*EXAMPLES, b"[" * 3000), is_json=True),
    Parser("answers", check_answers, ANSWER_SAMPLES, is_json=True),
    Parser("heartbeat", check_heartbeat, EXAMPLES[:1], is_json=True),
    Parser(
        "requests",
        check_requests,
        (
            _request("GET /v1/ha/heartbeat HTTP/1.1")
            + _request("POST /v1/ha/apply HTTP/1.1", "Content-Length: 2", body=b"{}"),
            _request(
                "POST /x HTTP/1.1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
            ),
            _request("POST /x HTTP/1.1", "Content-Length: 9999999", body=b"{}"),
            _request("POST /x HTTP/1.1", f"Content-Length: {'9' * 5000}"),
            _request("POST http://[x/y HTTP/1.1", "Expect: 100-continue"),
            b"GET /\r\n",
        ),
    ),
)
