"""Rules of input: it is data and never an operator, pattern, path or markup."""

import re
import time
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from tests.hosts.pace import Pace
from tests.web.web_visitor import HTTPS, USERNAME, Visitor, basic
from twistlock_console.common.search_terms import FIELD
from twistlock_console.defenders.deployment import create_token
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.lists.query import ListRequest, build_filter
from twistlock_console.web.lists.registry import HISTORY, LISTS
from twistlock_console.web.lists.schema import Filter, Listable
from twistlock_console.web.openapi.api_call import api_call_of
from twistlock_console.web.openapi.document import api_rules

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}${7*7}<!--"
LIVE = re.compile(r"<script>alert|<img src=x|onerror=alert\(1\)>[^&]|>49<|\$49")
OPERATORS = ['{"$ne": null}', '{"$gt": ""}', "$where", '{"$where": "sleep(9000)"}']
AUTH = {"Authorization": basic()}
BOMBS = [
    "(a+)+$",
    "(.*a){50}",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "a" * 10_000,
    "\\" * 5_000,
    "[" * 5_000,
    "(?:" * 3_000,
    "\x00\x00",
]


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/audits/mgmt?username={}",
        "/api/v1/audits/mgmt?username[$ne]={}",
        "/api/v1/audits/mgmt?search={}",
        "/api/v1/users?role[$gt]={}",
        "/api/v1/users?sort={}",
        "/api/v1/users?search={}",
    ],
)
def test_an_operator_in_a_query_is_text(
    admin: Visitor, path: str, operator: str
) -> None:
    """It matches nothing or is unknown; it never disables a filter."""
    answer = admin.get(path.format(quote(operator)), **AUTH)

    assert answer.status_code in {200, 400}
    if answer.status_code == 200 and "[" not in path:
        assert answer.get_json() == []


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_in_a_path_is_text(admin: Visitor, operator: str) -> None:
    """A user name that is an operator deletes no user."""
    answer = admin.client.delete(
        f"/api/v1/users/{quote(operator)}",
        base_url=HTTPS,
        headers=AUTH,
    )

    assert answer.status_code == 404
    assert admin.get("/api/v1/users", **AUTH).status_code == 200


@pytest.mark.parametrize("value", [{"$ne": None}, {"$gt": ""}, ["a"], 1, True, None])
def test_an_operator_in_a_body_is_refused(admin: Visitor, value: object) -> None:
    """A text field accepts only text, at any depth."""
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/v1/authenticate", {"username": value, "password": "x"}),
        ("/api/v1/authenticate", {"username": USERNAME, "password": value}),
        ("/api/v1/users", {"username": value, "password": "long enough"}),
        ("/api/v1/settings/logon", {"sessionTimeoutSec": {"$gt": value}}),
    ]
    codes = [admin.call(path, body, **AUTH).status_code for path, body in bodies]

    assert codes == [400] * 4


def hostile(listable: Listable, number: int) -> dict[str, Any]:
    """Return a document of the list with markup in every text."""
    document: dict[str, Any] = {"_id": f"{HOSTILE}{number}", FIELD: ["words"]}
    for column in listable.columns:
        value: object = HOSTILE
        if column.filter is Filter.TIME or "time" in column.name.lower():
            value = datetime.now(UTC)
        elif column.filter is Filter.BOOLEAN:
            value = True
        elif re.search("modified|received|since|xpir", column.name, re.IGNORECASE):
            value = datetime.now(UTC)
        place = document
        *steps, last = column.path.split(".")
        for step in steps:
            place = place.setdefault(step, {})
        place.setdefault(last, value)
    return document


@pytest.fixture(scope="module")
def _many_words(app: Flask) -> None:
    """Store entries whose words would make a naive regular expression slow."""
    storage_of(app).database()["audits_mgmt"].insert_many(
        {**hostile(HISTORY, number), FIELD: ["a" * 60 + "!", "aaaa"]}
        for number in range(1_000)
    )


def _milliseconds(app: Flask, search: str) -> int:
    """Return the time of a search in the database, in milliseconds."""
    list_request = ListRequest.from_arguments({"search": search}, HISTORY)
    trail = storage_of(app).database()["audits_mgmt"]
    plan = trail.find(build_filter(HISTORY, list_request)).limit(50).explain()
    found: int = plan["executionStats"]["executionTimeMillis"]
    return found


@pytest.mark.usefixtures("_many_words")
@pytest.mark.parametrize("bomb", BOMBS, ids=range(len(BOMBS)))
def test_a_search_is_no_regular_expression(
    admin: Visitor, app: Flask, bomb: str
) -> None:
    """No search text makes the Console or the database slow."""
    usual, _ = _search(admin, "admin")
    with Pace() as pace:
        spent, status = _search(admin, bomb)
        database_ms = _milliseconds(app, bomb)

    assert status == 200
    assert spent < 50 * usual
    assert database_ms < 1_000 * pace.limit(1)


def _search(admin: Visitor, search: str) -> tuple[float, int]:
    """Search; return the processor time in seconds, and the status."""
    begun = time.process_time()
    answer = admin.get(f"/api/v1/audits/mgmt?search={quote(search)}", **AUTH)
    return time.process_time() - begun, answer.status_code


@pytest.mark.parametrize("name", ["a" * 200_000, "a." * 50_000 + "!", "@" * 100_000])
def test_validation_of_names_is_linear(admin: Visitor, name: str) -> None:
    """Long texts that almost match do not make the validation of names slow."""
    usual = _name_user(admin, name[:20_000])

    assert _name_user(admin, name) < 50 * usual


def _name_user(admin: Visitor, name: str) -> float:
    """Send an invalid user name; return the processor time, in seconds."""
    begun = time.process_time()
    answer = admin.call(
        "/api/v1/users",
        {"username": name, "password": "long enough"},
        **AUTH,
    )
    assert answer.status_code == 400
    return time.process_time() - begun


def enrolment(app: Flask) -> dict[str, str]:
    """Return the credentials of a host that installs a Defender."""
    token, _ = create_token(storage_of(app).database())
    return {"Authorization": f"Bearer {token}"}


def bodies(app: Flask) -> list[tuple[str, str]]:
    """Yield method and path of every call that takes a body."""
    return [
        (method, re.sub("<[^>]+>", "1", rule.rule))
        for rule, method in api_rules(app)
        if (call := api_call_of(app.view_functions[rule.endpoint]))
        and call.body
        and call.body_required
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"a":"' + b"x" * 1_100_000 + b'"}', {413}, id="large"),
        pytest.param(b"[" * 60_000, {400}, id="deep-array"),
        pytest.param(b'{"a":' * 12_000, {400}, id="deep-object"),
        pytest.param(b'{"a":' * 900 + b"1" + b"}" * 900, {400}, id="deep-and-whole"),
        pytest.param(b'{"a": 1e999999}', {400}, id="endless-number"),
        pytest.param(b'{"a": ' + b"9" * 60_000 + b"}", {400}, id="long-number"),
        pytest.param(b'{"a":1,"a":2}', {400}, id="unknown"),
        pytest.param(b'\xff\xfe{"a":1}', {400}, id="not-utf-8"),
        pytest.param(b"", {400}, id="empty"),
    ],
)
def test_malformed_bodies_are_refused_by_every_call(
    admin: Visitor, app: Flask, body: bytes, status: set[int]
) -> None:
    """Huge, deep and broken bodies are refused by every call, in one sentence."""
    for method, path in bodies(app):
        answer = admin.client.open(
            path,
            method=method,
            data=body,
            content_type="application/json",
            base_url=HTTPS,
            headers=enrolment(app) if path.endswith("/enrol") else AUTH,
        )

        assert answer.status_code in status, (method, path, answer.text)
        assert set(answer.get_json()) == {"err"}


def test_a_body_without_a_length_is_limited_too(admin: Visitor) -> None:
    """A chunked body without end is cut off at the same size."""
    answer = admin.client.post(
        "/api/v1/authenticate",
        input_stream=BytesIO(b" " * 1_500_000),
        content_type="application/json",
        base_url=HTTPS,
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "..\\..\\etc\\passwd",
        "/etc/passwd",
        "%00/etc/passwd",
        "console.css%00.png",
        "file:///etc/passwd",
    ],
)
def test_no_name_leads_out_of_its_folder(admin: Visitor, app: Flask, name: str) -> None:
    """No name in a path or body reads or changes another file of the host."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            if not rule.arguments:
                continue
            answer = admin.client.open(
                re.sub("<[^>]+>", lambda _: name, rule.rule),
                method=method,
                base_url=HTTPS,
                headers=AUTH,
                data=b"not a backup",
                content_type="application/octet-stream",
            )

            assert answer.status_code in {308, 400, 404, 405, 409, 415}, (rule, method)
            assert "root:" not in answer.text


def test_no_stored_text_becomes_markup(admin: Visitor, app: Flask) -> None:
    """Text from Defenders, users and hosts is escaped on every page."""
    database = storage_of(app).database()
    for listable in LISTS:
        database[listable.collection].insert_many(
            hostile(listable, number) for number in range(5_000, 5_003)
        )
    shown = 0
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.arguments:
            continue
        if rule.rule.startswith("/api/"):
            continue
        page = admin.get(f"{rule.rule}?search=&username={quote(HOSTILE)}")
        if page.mimetype != "text/html" or page.status_code >= 500:
            assert page.status_code < 500, rule
            continue
        shown += "&lt;script&gt;alert(1)" in page.text
        assert not LIVE.search(page.text), rule

    assert shown >= 2


@pytest.mark.parametrize("field", ["username", "next"])
def test_a_refused_form_escapes_its_input(stranger: Visitor, field: str) -> None:
    """A refused form shows escaped input."""
    fields = {"username": "a", "password": "b", field: HOSTILE}
    page = stranger.send("/login", **fields).text

    assert "&lt;script&gt;" in page
    assert not LIVE.search(page)
