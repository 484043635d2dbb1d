"""Alerts on the web and from the database to a receiver: settings, queue, test."""

import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from web_visitor import PASSWORD, Visitor, basic

from plugins.ha.declarations import MEMBER_LAG, NODE_LOST
from plugins.ha.reporting.monitoring import problems_in
from tests.ha.messages import cluster, node
from twistlock_console.accounts.rights import UserRole
from twistlock_console.alerts import store
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.outbox import Outbox
from twistlock_console.alerts.rules import Kind, Notice, Problem, State, Told
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    Seal,
    read,
)
from twistlock_console.alerts.sources import backups, certificate_problems, defenders
from twistlock_console.alerts.targets import TargetPolicy
from twistlock_console.alerts.watch import Source, Watch
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import Db
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of

TRAIL = "/api/v1/audits/mgmt"
ALERTS, LOGGING = "/api/v1/settings/alerts", "/api/v1/settings/logging"
SECRET = "only the receiver knows"
LOST = Problem(NODE_LOST.name, "10.0.0.2", "the node 10.0.0.2 is lost")
LAG = Problem(MEMBER_LAG.name, "10.0.0.3", "the database of 10.0.0.3 is 30 s behind")


class Receiver:
    """A webhook's other side; answers with *status*."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self.server.serve_forever, args=(0.02,), daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def database(app: Flask) -> Db:
    return storage_of(app).database()


def hook(receiver: Receiver, **more: object) -> dict[str, object]:
    webhook = {"enabled": True, "url": receiver.url, "secret": {"plain": SECRET}}
    return {"webhook": webhook, **more}


def outbox(settings: Settings) -> Outbox:
    seal = Seal(read_secret(settings.folders.secrets / "session.key"))
    policy = TargetPolicy(allowed=settings.alert_targets_allowed)
    return Outbox(seal, Sender("127.0.0.1", "console", 1), lambda: policy)


def send(box: Outbox, database: Db) -> None:
    box.send(
        database,
        read(database, AlertSettings),
        read(database, LoggingSettings),
        threading.Event(),
    )


def eventually(true: Callable[[], object], seconds: float = 20) -> bool:
    deadline = boottime_ns() + round(seconds * SECOND)
    while boottime_ns() < deadline:
        if true():
            return True
        threading.Event().wait(0.05)
    return False


def test_the_secret_is_sealed(admin: Visitor, receiver: Receiver) -> None:
    """Neither the API nor the history gives it; what is given can be sent back."""
    saved = admin.call(ALERTS, hook(receiver), Authorization=basic())
    shown = admin.get(ALERTS, Authorization=basic()).get_json()

    again = admin.call(ALERTS, shown, Authorization=basic())
    history = admin.get("/api/v1/audits/mgmt", Authorization=basic()).get_data(True)

    assert (saved.status_code, again.status_code) == (200, 200)
    assert set(shown["webhook"]["secret"]) == {"encrypted"}
    assert SECRET not in json.dumps(shown) + history
    assert shown["webhook"]["secret"]["encrypted"] not in history
    assert "changed the settings of alerts" in history


def webhook(**fields: object) -> dict[str, object]:
    usual = {"enabled": True, "url": "https://a/b", "secret": {"plain": "x" * 16}}
    return {"webhook": {**usual, **fields}}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (ALERTS, webhook(url="ftp://a/b"), "write a full address"),
        (ALERTS, webhook(url="https://user:pw@a/b"), "write a full address"),
        (ALERTS, webhook(url="https://[a/b"), "write a full address"),
        (ALERTS, webhook(secret={"plain": "short"}), "at least 16 characters"),
        (ALERTS, webhook(secret={}), "give one; alerts are signed with it"),
        (ALERTS, webhook(secret={"encrypted": "forged"}), "did not write it"),
        (ALERTS, {"nodeLostSeconds": 0}, "greater than or equal to 1"),
        (LOGGING, {"syslog": {"addr": "host:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://[x:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://host#x:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://host:\u0663"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "tcp://host:99999"}}, "from 1 to 65535"),
        (LOGGING, {"syslog": {"addr": "udp://a..b:514"}}, "neither a name nor an IPv4"),
        (LOGGING, {"syslog": {"addr": "udp://\u2100:514"}}, "neither a name nor"),
    ],
)
def test_wrong_settings_are_refused(
    admin: Visitor, path: str, body: object, told: str
) -> None:
    """In one sentence that says what is right."""
    answer = admin.call(path, body, Authorization=basic())

    assert answer.status_code == 400
    assert told in answer.get_json()["err"]


def test_the_page_keeps_the_secret_and_sends_a_test(
    admin: Visitor, receiver: Receiver
) -> None:
    """An empty field leaves what is stored; the test says how it went."""
    form = "/manage/alerts/alerts"
    fields = {
        "enabled": "on",
        "url": receiver.url,
        "failover": "on",
        "nodeLostSeconds": "5",
        "memberLagSeconds": "6",
        "defendersLostMinutes": "7",
    }
    first = admin.send(form, secret=SECRET, **fields)
    second = admin.send(form, secret="", **fields)
    admin.send("/manage/alerts/test", form_on=form)
    page = admin.get(form).get_data(as_text=True)
    receiver.status = 500
    admin.send("/manage/alerts/test", form_on=form)
    failed = admin.get(form).get_data(as_text=True)
    wrong = admin.send(form, **{**fields, "nodeLostSeconds": "soon"})

    assert (first.status_code, second.status_code) == (303, 303)
    assert "The webhook at 127.0.0.1 took it." in page
    assert "The webhook at 127.0.0.1 answered with status 500." in failed
    assert wrong.status_code == 400
    headers, body = receiver.got[0]
    stamp, _, proof = headers["X-Twistlock-Signature"].partition(",v1=")
    signed = f"{stamp[2:]}.".encode() + body
    wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert proof == wanted
    assert json.loads(body)["kind"] == "test"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of the loopback on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_test_tries_every_channel(
    admin: Visitor, receiver: Receiver, closed_port: int, tmp_path: Path
) -> None:
    """A channel that fails keeps no other from its test; each has its sentence."""
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
    assert answer.get_json()["err"] == f"{webhook_failed}; syslog: {address} took it"
    assert 'log_type="test"' in text
    assert "The webhook at 127.0.0.1 took it." in page
    assert f"The syslog server tcp://127.0.0.1:{closed_port} did not take it" in page
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
    """Send a header for ever, each byte in time for a timeout of its own."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    with suppress(OSError):
        while True:
            connection.sendall(b".")
            threading.Event().wait(0.05)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_test_tells_no_open_port_from_a_closed_one(
    admin: Visitor, closed_port: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answers there, or nothing: the sentence is one, and has no Python."""
    monkeypatch.setattr("twistlock_console.alerts.channels.SECONDS", 0.5)

    def told(port: int) -> str:
        url = f"{scheme}://127.0.0.1:{port}/hook"
        body = {"webhook": {"enabled": True, "url": url, "secret": {"plain": SECRET}}}
        admin.call(ALERTS, body, Authorization=basic())
        answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        assert answer.status_code == 400
        return str(answer.get_json()["err"])

    sentences = {told(closed_port)}
    for behaviour in (silent, rude, ending, dripping):
        with answering(behaviour) as port:
            sentences.add(told(port))

    assert sentences == {
        "the webhook at 127.0.0.1 did not take it: there was no connection, no answer "
        "in time, or no certificate that this node trusts; the log of this node says "
        "which"
    }


def test_a_webhook_over_tls_proves_its_name(
    admin: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a certificate that the host trusts, for the name in the address."""
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

    def told(host: str) -> int:
        with answering(answer) as port:
            url = f"https://{host}:{port}/hook?x=1"
            admin.call(ALERTS, webhook(url=url), Authorization=basic())
            test = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
        return test.status_code

    untrusted = told("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    trusted = [told("localhost"), told("127.0.0.1")]
    other_name = told("127.0.0.2")

    assert (untrusted, trusted, other_name) == (400, [200, 200], 400)
    assert len(got) == 2
    assert got[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert b"\r\nHost: localhost:" in got[0]


@contextmanager
def answering(behaviour: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose one connection is dealt with by *behaviour*."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - 127.0.0.0/8

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                behaviour(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture
def strict(running: Settings) -> Iterator[Visitor]:
    """An administrator of a Console that allows no special addresses."""
    made = create_app(replace(running, alert_targets_allowed=()))
    made.testing = True
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    visitor = Visitor(made.test_client())
    visitor.sign_up()
    yield visitor
    storage_of(made).close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "api.localhost.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        "224.0.0.1",
    ],
)
def test_a_special_address_is_not_saved(strict: Visitor, host: str) -> None:
    """Not for a webhook and not for syslog, and the setting that allows it is named."""
    hook = webhook(url=f"https://{host}:9200/x")
    answers = [strict.call(ALERTS, hook, Authorization=basic())]
    if not host.startswith("["):
        syslog = {"syslog": {"enabled": True, "addr": f"tcp://{host}:9200"}}
        answers.append(strict.call(LOGGING, syslog, Authorization=basic()))

    for answer in answers:
        assert answer.status_code == 400
        assert (
            "is in ALERT_TARGETS_ALLOWED in twistlock.cfg" in answer.get_json()["err"]
        )


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "udp"])
@pytest.mark.parametrize("host", ["127.1", "2130706433", "rebound.test"])
def test_a_name_is_judged_by_the_address_it_leads_to(
    strict: Visitor, receiver: Receiver, scheme: str, host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """At the connection itself: an open port and a closed one answer the same."""
    real = socket.getaddrinfo

    def rebound(name: str, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if name == "rebound.test" else name, *rest, **more)

    # The resolver is the system's: this one leads a name to the loopback.
    monkeypatch.setattr("socket.getaddrinfo", rebound)
    sentences = []
    for port in (receiver.server.server_port, 1):
        address = f"{scheme}://{host}:{port}"
        if scheme.startswith("http"):
            saved = strict.call(ALERTS, webhook(url=address), Authorization=basic())
        else:
            body = {"syslog": {"enabled": True, "addr": address}}
            saved = strict.call(LOGGING, body, Authorization=basic())
        assert saved.status_code == 200, saved.get_json()
        told = strict.call(f"{ALERTS}/test", {}, Authorization=basic())
        assert told.status_code == 400
        sentences.append(told.get_json()["err"].replace(address, "it"))

    assert sentences[0] == sentences[1]
    assert f"{host} leads to 127.0.0.1, which is a loopback address" in sentences[0]
    assert receiver.got == []


SLACK = "https://hooks.test:8443/services/T0/B0/PLANTED-7391?key=PLANTED-7391"
OTHER = "https://hooks.test:8443/services/T0/B0/PLANTED-other"
HOST_ONLY = "https://hooks.test:8443/(a secret)"


@pytest.mark.parametrize("role", [each.value for each in UserRole])
def test_nobody_reads_the_path_of_the_webhook(
    admin: Visitor, app: Flask, database: Db, role: str
) -> None:
    """Neither in the settings nor in the history, nor in what was recorded before."""
    for url in (SLACK, OTHER, SLACK):
        saved = admin.call(ALERTS, webhook(url=url), Authorization=basic())
        assert saved.status_code == 200
    before = f'+    "url": "{SLACK}",'
    older = {"time": datetime.now(UTC), "type": "settings", "username": "admin"}
    address = {"sourceIP": "192.0.2.7", "api": "/x", "failure": False}
    database["audits_mgmt"].insert_one(
        {**older, **address, "diff": before, "status": SLACK}
    )
    user = {"username": "jane", "password": PASSWORD, "role": role}
    assert admin.call("/api/v1/users", user, Authorization=basic()).status_code == 200
    reader = Visitor(app.test_client())
    reader.log_in("jane")
    proof = basic("jane")

    shown = reader.get(ALERTS, Authorization=proof).get_json()
    texts = [
        reader.get(path, Authorization=proof).text
        for path in (ALERTS, TRAIL, f"{TRAIL}/download")
    ]
    texts += [
        reader.get(path).text
        for path in ("/manage/alerts/alerts", "/manage/logs/history")
    ]

    assert "PLANTED" not in "".join(texts)
    assert shown["webhook"]["url"] == HOST_ONLY
    assert HOST_ONLY in texts[1]
    assert "https://hooks.test:8443/(another secret)" in texts[1]
    sealed = shown["webhook"]["secret"]["encrypted"]
    assert (sealed == "(a secret)") is (role != UserRole.ADMIN.value)


def test_what_is_shown_can_be_sent_back(admin: Visitor, database: Db) -> None:
    """The secrets stay; but never for another host than that which they are for."""
    admin.call(ALERTS, webhook(url=SLACK), Authorization=basic())
    stored = read(database, AlertSettings)
    shown = admin.get(ALERTS, Authorization=basic()).get_json()
    hidden = {**shown["webhook"], "secret": {"encrypted": "(a secret)"}}

    answers = [
        admin.call(ALERTS, body, Authorization=basic()).status_code
        for body in (shown, {**shown, "webhook": hidden})
    ]
    form = {"enabled": "on", "url": HOST_ONLY, "secret": ""}
    numbers = dict.fromkeys(
        ("nodeLostSeconds", "memberLagSeconds", "defendersLostMinutes"), "5"
    )
    by_page = admin.send("/manage/alerts/alerts", **form, **numbers)
    kept = read(database, AlertSettings).webhook
    elsewhere = admin.call(
        ALERTS,
        webhook(url=HOST_ONLY.replace("hooks", "evil")),
        Authorization=basic(),
    )

    assert answers == [200, 200]
    assert by_page.status_code == 303
    assert kept == stored.webhook
    assert elsewhere.status_code == 400
    assert "webhook.url: write the full address" in elsewhere.get_json()["err"]


def test_the_logging_page_saves(admin: Visitor) -> None:
    """Syslog and metrics; a mistake is told on the page."""
    page = "/manage/alerts/logging"
    sent = {"enabled": "on", "format": "rfc3164", "metrics": "on"}
    saved = admin.send(page, addr="udp://127.0.0.1:514", **sent)
    wrong = admin.send(page, addr="nowhere", **sent)

    shown = admin.get(LOGGING, Authorization=basic()).get_json()
    assert (saved.status_code, wrong.status_code) == (303, 400)
    assert shown["syslog"]["addr"] == "udp://127.0.0.1:514"
    assert shown["enableMetricsCollection"] is True
    assert 'value="udp://127.0.0.1:514"' in admin.get(page).get_data(as_text=True)


def test_nothing_to_test_is_said(admin: Visitor) -> None:
    """Without a webhook and syslog a test is refused."""
    answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())

    assert answer.status_code == 400
    assert "switch a webhook or syslog on" in answer.get_json()["err"]


def test_what_was_not_taken_waits(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """In its order, over a failover too: the queue is in the database."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.status = 503
    notices = [Notice(LOST, 1, State.RAISED), Notice(LOST, 1, State.RECOVERED)]
    store.tell(database, notices[:1], ["webhook"])
    store.tell(database, notices[1:], ["webhook"])
    store.tell(database, notices[1:], ["webhook"])
    send(outbox(running), database)
    tries = len(receiver.got)
    receiver.status = 204

    send(outbox(running), database)

    states = [body["state"] for body in receiver.bodies()]
    assert tries == 1
    assert states == ["raised", "raised", "recovered"]
    assert store.waiting(database, "webhook", 9) == []
    assert store.read_told(database)[LOST.key].is_open is False


def test_a_failed_channel_rests(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """It is not asked again at once; a redirect is no acceptance."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.status = 307
    store.tell(database, [Notice(LOST, 1, State.RAISED)], ["webhook"])
    box = outbox(running)

    send(box, database)
    send(box, database)

    assert len(receiver.got) == 1
    assert len(store.waiting(database, "webhook", 9)) == 1


def test_after_a_day_an_alert_is_given_up(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """And the next one is tried; the queue has its bound."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.server.server_close()
    store.tell(database, [Notice(LOST, 1, State.RAISED)], ["webhook"])
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database[store.QUEUE].update_many({}, {"$set": {"created": long_ago}})

    send(outbox(running), database)

    assert store.waiting(database, "webhook", 9) == []


@pytest.mark.parametrize("address", ["udp://a..b:514", "tcp://[x:514"])
def test_an_address_that_was_stored_and_is_none_is_a_failed_attempt(
    admin: Visitor, running: Settings, database: Db, address: str
) -> None:
    """The channel rests and gives up as always; the page shows what to mend."""
    syslog = {"enabled": True, "addr": address, "format": "rfc5424"}
    database["settings"].insert_one({"_id": "logging", "syslog": syslog})
    notices = [Notice(LOST, 1, State.RAISED), Notice(LAG, 1, State.RAISED)]
    store.tell(database, notices[:1], ["syslog"])
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database[store.QUEUE].update_many({}, {"$set": {"created": long_ago}})
    store.tell(database, notices[1:], ["syslog"])

    send(outbox(running), database)
    answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
    page = admin.get("/manage/alerts/logging").get_data(as_text=True)

    waiting = [each.notice for each in store.waiting(database, "syslog", 9)]
    assert waiting == notices[1:]
    assert answer.status_code == 400
    assert f"the syslog server {address}" in answer.get_json()["err"]
    assert f'value="{address}"' in page


def test_a_full_queue_is_that_of_its_channel_alone(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts that syslog does not take leave room for those of the webhook."""
    monkeypatch.setattr("twistlock_console.alerts.store.MOST_WAITING", 2)
    notices = [Notice(LOST, number, State.RAISED) for number in (1, 2, 3)]
    store.tell(database, notices, ["syslog"])

    store.tell(database, notices[:1], ["syslog", "webhook"])

    assert len(store.waiting(database, "syslog", 9)) == 2
    waiting = [each.notice for each in store.waiting(database, "webhook", 9)]
    assert waiting == notices[:1]


@pytest.mark.parametrize("form", ["rfc5424", "rfc3164"])
@pytest.mark.parametrize("way", ["udp", "tcp", "unix"])
def test_syslog_takes_it(admin: Visitor, tmp_path: Path, form: str, way: str) -> None:
    """Over each kind of socket, framed as its format has it."""
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
    """A syslog server of kind *way*: its address, and what it takes."""

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


def test_the_serving_node_watches(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """From a takeover on: that itself, what is wrong, and its end; each once."""
    admin.call(ALERTS, hook(receiver, nodeLostSeconds=1), Authorization=basic())
    store.note_epoch(database, 4)
    wrong = [LOST]
    blind = [False]

    def look(*_: object) -> list[Problem]:
        if blind[0]:
            raise DatabaseError("cannot look now")
        return list(wrong)

    watch = Watch(running)
    watch.sources.append(Source(frozenset({NODE_LOST.name}), look))
    phases = {"elected": 0.1, "ports": 0.2}
    reason = "10.0.0.2 fell silent"
    watch.follow(RoleChanged(Role.STANDBY, Role.PRIMARY, reason, 5, phases))
    try:
        assert eventually(lambda: len(receiver.got) == 2)
        blind[0] = True
        wrong.clear()
        threading.Event().wait(2.5)
        assert len(receiver.got) == 2
        blind[0] = False
        assert eventually(lambda: len(receiver.got) == 3)
    finally:
        watch.follow(RoleChanged(Role.PRIMARY, Role.STANDBY, "over", 5, {}))

    told = [(body["kind"], body["state"]) for body in receiver.bodies()]
    assert told == [
        ("failover", "happened"),
        ("nodeLost", "raised"),
        ("nodeLost", "recovered"),
    ]
    assert "10.0.0.2 fell silent" in receiver.bodies()[0]["message"]


def test_a_takeover_ends_no_problem(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """What another node told of, and what this one sees too, goes on being told."""
    admin.call(ALERTS, hook(receiver, nodeLostSeconds=3600), Authorization=basic())
    store.note_epoch(database, 5)
    store.tell(database, [Notice(LOST, 1, State.RAISED)], [])
    looks: list[int] = []

    def look(*_: object) -> list[Problem]:
        looks.append(1)
        return [LOST]

    watch = Watch(running)
    watch.sources.append(Source(frozenset({NODE_LOST.name}), look))
    watch.follow(RoleChanged(Role.STANDBY, Role.PRIMARY, "why", 5, {}))
    try:
        assert eventually(lambda: len(looks) == 2)
    finally:
        watch.stop()

    assert receiver.got == []
    assert store.read_told(database) == {LOST.key: Told(LOST, 1, is_open=True)}


def test_open_problems_are_on_the_page(admin: Visitor, database: Db) -> None:
    """Whoever looks sees what is wrong, and what waits to be sent."""
    store.tell(database, [Notice(LOST, 1, State.RAISED)], ["webhook"])

    page = admin.get("/manage/alerts/alerts").get_data(as_text=True)

    assert "The node 10.0.0.2 is lost." in page
    assert "1 alert waits to be sent" in page


def test_what_the_console_sees_is_wrong(database: Db) -> None:
    """Failed backups, while they are repeated too; Defenders that are away too long."""
    now = datetime.now(UTC)
    database["backup_results"].insert_many(
        [
            {"_id": "daily", "state": "running", "error": "the disk is full"},
            {"_id": "weekly", "state": "done", "error": ""},
        ]
    )
    database["defenders"].insert_many(
        [
            {"_id": "here", "connected": True, "lastModified": now},
            {"_id": "away", "connected": False, "lastModified": now},
            {
                "_id": "lost",
                "connected": False,
                "lastModified": now - timedelta(minutes=11),
            },
        ]
    )

    found = [*backups(database, AlertSettings()), *defenders(database, AlertSettings())]

    assert [(each.kind, each.subject) for each in found] == [
        (Kind.BACKUP_FAILED, "daily"),
        (Kind.DEFENDERS_LOST, "lost"),
    ]


def test_what_is_wrong_in_a_cluster() -> None:
    """Nodes out of reach, and members too far behind; a waiting host is no problem."""
    states = [("PRIMARY", 0.0), ("SECONDARY", 11.0), ("UNAVAILABLE", None)]
    nodes = [
        node(f"10.0.0.{n}", state, lagSeconds=lag)
        for n, (state, lag) in enumerate([*states, ("REQUEST_JOIN", None)])
    ]

    found = list(problems_in(cluster(nodes), 10))
    certificates = list(certificate_problems("10.0.0.9", {"certificate": "it ends"}))

    assert [(each.kind, each.subject) for each in found] == [
        (MEMBER_LAG.name, "10.0.0.1"),
        (NODE_LOST.name, "10.0.0.2"),
    ]
    assert [each.sentence for each in certificates] == ["on 10.0.0.9, it ends"]
