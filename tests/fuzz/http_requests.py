"""HTTP on the management ports: heads, bodies, and what the whole application answers.

The application has an account that is logged in, and a database that answers nothing
else. An input names the account's token as TOKEN and its session as SESSION.
"""

import re
from functools import cache
from io import BytesIO
from ipaddress import ip_network
from typing import Any, cast

from flask import Flask
from gunicorn.config import Config
from pymongo.errors import AutoReconnect

import wsgi
from plugins.ha.settings import HaSettings
from plugins.ha.web import node_client
from tests.fuzz.parsers import Parser, allowed, latin_text_of, scratch_folder
from tests.web.fake_node_api import FakeNodeApi
from twistlock_console.accounts.rights import UserRole
from twistlock_console.accounts.sessions import Session, read_token, write_token
from twistlock_console.accounts.users import User, new_document
from twistlock_console.common.atomic_files import ensure_secret
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.servers.management.client_bounds import client_key
from twistlock_console.servers.management.exchange import (
    Exchange,
    OutputBuffer,
    RunOutcome,
)
from twistlock_console.servers.management.plain_http import (
    MAX_HEAD_BYTES,
    SENTENCE,
    is_plain,
    is_whole_head,
    plain_answer,
)
from twistlock_console.servers.management.request import (
    BadRequest,
    BodyNotValid,
    RequestHead,
    body_from_socket,
    parse_head,
)
from twistlock_console.settings import Settings
from twistlock_console.web.actions import backups
from twistlock_console.web.common.database import Storage

PEER = ("203.0.113.9", 40_000)
SERVER = ("10.0.0.1", 8083)
USERNAME = "admin"
TIMEOUT_S = 3600
#: They send messages to any address, or hash a password, which takes long on purpose.
NOT_HERE = (
    *("api_alerts.test_alerts", "alerts.test", "api_entry.signup", "entry.signup"),
    *("api_session.change_password", "profile.change_password"),
    *("api_users.add", "api_users.replace", "users.add", "users.edit"),
)
TOKEN, COOKIE = b"TOKEN", b"SESSION"
PLAIN_LOCATION = re.compile(rb"Location: https://[A-Za-z0-9._:\[\]-]+/[\x21-\x7e]*\r\n")


class Silent:
    """A part of a database that does not answer, whatever it is asked."""

    def __getattr__(self, _name: str) -> "Silent":
        return self

    def __getitem__(self, _name: str) -> "Silent":
        return self

    def __call__(self, *_args: object, **_options: object) -> Any:
        raise AutoReconnect("not now")


class Found(list[dict[str, object]]):
    """Documents that a query found; nothing more can be asked of it."""

    skip = limit = sort = batch_size = Silent()  # type: ignore[assignment]


class KnownCollection(Silent):
    """A collection that gives *documents* to every query, and takes no changes."""

    def __init__(self, documents: list[dict[str, object]]) -> None:
        self._documents = documents

    def find(self, *_args: object, **_options: object) -> Found:
        """Return the documents."""
        return Found(self._documents)

    def find_one(self, *_args: object, **_options: object) -> dict[str, object] | None:
        """Return the first document."""
        return next(iter(self._documents), None)


class SilentClient(Silent):
    """A client whose database knows one user, and answers nothing else."""

    def __init__(self, user: dict[str, object]) -> None:
        known = {"users": [user], "settings": [], "revocations": []}
        self._known = {name: KnownCollection(each) for name, each in known.items()}

    def get_database(self, _name: str, **_options: object) -> "SilentClient":
        """Return the database."""
        return self

    def __getitem__(self, name: str) -> Silent:
        return self._known.get(name) or Silent()


class Ends:
    """The two ends of a connection."""

    peer = PEER
    server = SERVER


@cache
def config() -> Config:
    """Return gunicorn's configuration, with the limits of the management server."""
    made = Config()
    for name, value in {
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": "",
        "certfile": "node.pem",
    }.items():
        made.set(name, value)
    return made


@cache
def application() -> tuple[Flask, bytes, bytes]:
    """Return the whole application, a token, and the cookie of a session."""
    folder = scratch_folder()
    settings = Settings(
        node_address="127.0.0.1",
        data_folder=folder,
        data_recovery_volume=folder / "volume",
        plugin_values=HaSettings(enabled=True).values(),
    )
    settings.folders.create()
    ensure_secret(settings.folders.secrets / "session.key")
    create_authority(settings.folders.certificates)
    issue_node_certificate(settings.folders.certificates, ["127.0.0.1"])
    document = new_document(USERNAME, "$argon2id$", UserRole.ADMIN)
    app = wsgi.create(settings)
    app.extensions["storage"] = Storage(lambda: cast(Any, SilentClient(document)))
    app.extensions[node_client.EXTENSION] = FakeNodeApi()
    app.extensions[backups.EXTENSION] = FakeNodeApi()
    for endpoint in NOT_HERE:
        app.view_functions[endpoint] = lambda: ""
    # Forms shall be read, too; what is wrong with their tokens is decided before.
    app.config["WTF_CSRF_ENABLED"] = False
    return app, *_credentials(app, User.from_document(document))


def _credentials(app: Flask, user: User) -> tuple[bytes, bytes]:
    now = 4_000_000_000 - TIMEOUT_S
    session = Session.start(user, now)
    token = write_token(app.extensions["token_key"], session, user, TIMEOUT_S)
    part = [session.id, session.username, session.epoch, session.issued]
    signer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    cookie = signer.dumps({"login": part, "_user_id": USERNAME, "_fresh": True})
    return token.encode(), f"__Host-session={cookie}".encode()


def check_head(data: bytes) -> None:
    """Read the head of a request, and its body in chunks if it has one."""
    head = _head(data)
    if head is None:
        return
    with allowed(BadRequest):
        head.check_body()
    try:
        body = body_from_socket(head, data[head.size :], cast(Any, EndedSocket()))
        assert len(body.read()) <= len(data)
    except BodyNotValid:
        pass


def _head(data: bytes) -> RequestHead | None:
    with allowed(BadRequest):
        head = parse_head(config(), bytearray(data), PEER)
        if head is not None:
            assert (head.size <= len(data), head.length >= 0) == (True, True)
            assert head.path.startswith("/") or head.method
        return head
    return None


class EndedSocket:
    """A socket at whose end the client is."""

    def recv(self, _size: int) -> bytes:
        """Return nothing more."""
        return b""


def check_application(data: bytes) -> None:
    """Answer a request; whatever it is, that is no failure of ours."""
    app, token, cookie = application()
    raw = data.replace(TOKEN, token).replace(COOKIE, cookie)
    head = _head(raw)
    if head is None:
        return
    body = raw[head.size :][: head.length]
    output = OutputBuffer(lambda: None)
    extra: dict[str, object] = {"wsgi.input": BytesIO(body)}
    exchange = Exchange(app, config(), head, Ends(), output, extra)
    outcome = RunOutcome.CONTINUES
    answer = b""
    while outcome is RunOutcome.CONTINUES:
        outcome = exchange.run()
        answer += output.take(1 << 30)
    assert outcome is RunOutcome.COMPLETE, f"{outcome} for {raw[:300]!r}"
    status = answer.split(b" ", 2)[1]
    assert status != b"500", f"{answer[-300:]!r} for {raw[:300]!r}"


def check_plain(data: bytes) -> None:
    """Answer plain HTTP: one head of ours, and a redirect to HTTPS or a sentence."""
    if not data:
        return
    assert is_plain(data) == (data[0] != 0x16)
    assert is_whole_head(data) or len(data) < MAX_HEAD_BYTES
    head, _, body = plain_answer(data).partition(b"\r\n\r\n")
    assert body in (b"", SENTENCE.encode())
    lines = head.split(b"\r\n")
    redirected = lines[0] == b"HTTP/1.1 308 Permanent Redirect"
    assert redirected or lines[0] == b"HTTP/1.1 400 Bad Request"
    assert len(lines) == 5 + redirected
    assert not redirected or PLAIN_LOCATION.fullmatch(lines[1] + b"\r\n")


def check_address(data: bytes) -> None:
    """Tell clients apart by whatever stands for their address."""
    text = latin_text_of(data)
    key = client_key(text)
    assert key == text or ip_network(key).prefixlen in (32, 64)


def check_token(data: bytes) -> None:
    """Read a bearer token, signed by us or not."""
    found = read_token(b"k" * 32, latin_text_of(data))
    assert found is None or isinstance(found.issued, int)


def _request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: console.test", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


AUTH = "Authorization: Bearer TOKEN"
WITH_COOKIE = "Cookie: SESSION"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
FORM_DATA = "Content-Type: multipart/form-data; boundary=b"
EVENTS = "/api/v1/audits/runtime/host"
PAGES = (
    "/manage/system/backups/one",
    "/monitor/events/host",
    "/manage/authentication/users",
    "/defend/runtime/host/rule",
    "/manage/logs/history/download",
)
HEADS = (
    _request("GET /api/v1/_ping"),
    _request("POST /api/v1/x", "Transfer-Encoding: chunked")
    + b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
    _request("PUT /x", "Expect: 100-continue", body=b"hello"),
    b"GET http://[::1]/x HTTP/1.0\r\nA: b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
)
REQUESTS = (
    _request("GET /login?next=%2Fx"),
    _request("POST /login", FORM, body=b"username=a&password=b&next=%2F"),
    _request(
        "POST /login",
        FORM_DATA,
        body=b"--b\r\nContent-Disposition: form-data; "
        b'name="username"\r\n\r\nadmin\r\n--b--\r\n',
    ),
    _request(
        "POST /api/v1/authenticate", JSON, body=b'{"username":"a","password":"b"}'
    ),
    _request(f"GET {EVENTS}?limit=5&offset=2&sort=time&reverse=true&search=a", AUTH),
    _request(f"GET {EVENTS}?from=2026-11-24T09:30:00Z&to=9999-01-01", AUTH),
    _request("GET /api/v1/defenders?connected=true&limit=0050", AUTH),
    _request("GET /api/v1/logs/console?lines=10", AUTH),
    _request("GET /api/v1/settings/logon", "Authorization: Basic YWRtaW46eA=="),
    _request("GET /api/v1/settings/logon", "Authorization: Basic \u00ff"),
    _request(
        "POST /api/v1/settings/logon", AUTH, JSON, body=b'{"strongPassword":true}'
    ),
    _request("POST /api/v1/backups?project=x", AUTH, JSON, body=b'{"name":"nightly"}'),
    _request(
        "PUT /api/v1/policies/runtime/host",
        *(AUTH, JSON),
        body=b'{"rules":[{"name":"r","hosts":["*"],"processes":{"denied":["nc"]}}]}',
    ),
    _request(
        "POST /api/v1/settings/alerts",
        *(AUTH, JSON),
        body=b'{"webhook":{"url":"https://x.test/a"},"nodeLostSeconds":60}',
    ),
    _request(
        "POST /api/v1/defenders/enrol",
        *("Authorization: Bearer deploy-" + "a" * 43, JSON),
        body=b'{"defender":"web-1","request":"x"}',
    ),
    _request(
        "POST /api/v1/high-availability/join-requests",
        *("Authorization: Bearer join-" + "a" * 43, JSON),
        body=b'{"address":"10.0.0.2","version":"1","request":"x"}',
    ),
    *(_request(f"GET {page}?search=a&offset=1", WITH_COOKIE) for page in PAGES),
    _request(
        "POST /api/v1/settings/logging",
        *(AUTH, JSON),
        body=b'{"syslog":{"enabled":true,"addr":"tcp://10.0.0.9:514"}}',
    ),
    _request(
        "POST /api/v1/settings/defender", AUTH, JSON, body=b'{"eventQuotaMegabytes":50}'
    ),
    _request("PATCH /api/v1/backups/x-1-1.tar.gz", AUTH, JSON, body=b'"y"'),
    _request(
        "POST /manage/system/api/users", WITH_COOKIE, FORM, body=b"path=/a&body={}"
    ),
    _request(
        "POST /defend/runtime/host/rule", WITH_COOKIE, FORM, body=b"name=a&hosts=*"
    ),
    _request(
        "POST /manage/alerts/alerts", WITH_COOKIE, FORM, body=b"name=a&url=https://b"
    ),
    _request("GET /manage/defenders/names", WITH_COOKIE, "HX-Request: true"),
    _request("GET /", "Cookie: __Host-device=x; appearance=dark", "Referer: http://["),
)
CLAIM = b"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ0d2lzdGxvY2sifQ.c2ln"

PARSERS = (
    Parser("head and body", check_head, (*HEADS, *REQUESTS[:3])),
    Parser("application", check_application, REQUESTS),
    Parser(
        "plain HTTP",
        check_plain,
        (
            HEADS[0],
            b"HEAD /a HTTP/1.0\nhost: [::1]:8443\n\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ),
    ),
    Parser("address", check_address, (b"::ffff:1.2.3.4", b"fe80::1%eth0", b"10.0.0.1")),
    Parser("token", check_token, (CLAIM, b"a.b.c")),
)
