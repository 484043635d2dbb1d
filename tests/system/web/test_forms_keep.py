"""Rules of all forms: after an error they keep what was typed, except secrets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

import wsgi
from plugins.ha.settings import HaSettings
from plugins.ha.web import node_client
from tests.web.fake_node_api import BACKUPS, FakeNodeApi
from tests.web.web_visitor import HTTPS, PASSWORD, Visitor
from twistlock_console.settings import Settings
from twistlock_console.web.actions import backups
from twistlock_console.web.common.database import storage_of

WITH_HA = HaSettings(enabled=True).values()

BACKUP = "before-26.11.1-1795478400.tar.gz"
SECRETS = {"password", "repeated", "secret", "passphrase", "old", "new"}
TYPED = {"text", "number", "search", "url", "datetime-local", "checkbox", "", "email"}


@dataclass
class Form:
    """A form on a page: its target and the values of its fields."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


class Forms(HTMLParser):
    """Parser of the forms of a page: visible fields and their values."""

    def __init__(self, path: str, page: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._path = path
        self._form: Form | None = None
        self._open: tuple[str, str] = ("", "")
        self._is_named_by_text = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            action = urlsplit(given.get("action") or self._path).path
            self._form = Form(action, given.get("method", "get"))
            self.found.append(self._form)
        elif self._form and tag == "input" and given.get("type", "") == "password":
            self._form.secrets[name] = given.get("value", "")
        elif self._form and tag == "input" and given.get("type", "") in TYPED:
            if given.get("type") == "checkbox":
                self._form.fields[name] = "on" if "checked" in given else ""
            else:
                self._form.fields[name] = given.get("value", "")
        elif self._form and tag in {"textarea", "select"}:
            self._open = (tag, name)
            self._form.fields[name] = ""
        elif self._form and tag == "option" and "selected" in given:
            self._form.fields[self._open[1]] = given.get("value", "")
            self._is_named_by_text = "value" not in given

    def handle_data(self, data: str) -> None:
        if self._form and (self._open[0] == "textarea" or self._is_named_by_text):
            self._form.fields[self._open[1]] += data
        self._is_named_by_text = False

    def handle_endtag(self, tag: str) -> None:
        if tag in {"textarea", "select"}:
            self._open = ("", "")
        elif tag == "form":
            self._form = None


class NodeApiWithABackup(FakeNodeApi):
    """A fake of the node API that has one backup and refuses every job."""

    def get(self, path: str) -> Any:
        """Return the list with the backup."""
        if path != "/v1/backups":
            return super().get(path)
        one = {
            "id": BACKUP,
            "name": "before",
            "release": "26.11.1",
            "time": "2026-11-24T09:30:00+00:00",
            "size": 1,
            "verified": None,
            "system": False,
        }
        return {**BACKUPS, "backups": [one]}


@pytest.fixture
def app(running: Settings) -> Iterator[Flask]:
    """Return the whole application, on an empty database."""
    made = wsgi.create(replace(running, plugin_values=WITH_HA))
    made.testing = True
    made.extensions[node_client.EXTENSION] = NodeApiWithABackup()
    made.extensions[backups.EXTENSION] = NodeApiWithABackup()
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    yield made
    storage_of(made).close()


@dataclass(frozen=True)
class Case:
    """A form: its page, and values that it refuses."""

    page: str
    sent: dict[str, str]
    action: str = ""
    wrong: str = ""
    hidden: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return the path to which the form is sent."""
        return self.action or urlsplit(self.page).path


RULE = {
    "name": "r",
    "notes": "n",
    "hosts": "web-1",
    "denied": "nc",
    "effect": "prevent",
    "paths": "etc",
    "folders": "/srv",
    "exclusions": "/x",
    "checks": "redirects",
    "everyHours": "7",
    "disabled": "on",
}
ALERTS = {
    "enabled": "on",
    "url": "ftp://a/b",
    "secret": "x" * 20,
    "failover": "on",
    "nodeLost": "",
    "memberLag": "on",
    "backupFailed": "",
    "certificateEnd": "on",
    "defendersLost": "",
    "nodeLostSeconds": "11",
    "memberLagSeconds": "12",
    "defendersLostMinutes": "13",
}
LOGGING = {"enabled": "on", "addr": "host", "format": "rfc3164", "metrics": "on"}
LOGON = {"minutes": "0", "strongPassword": "on", "basicAuthDisabled": "on"}
DAYS = {"alertHours": "7", "disconnectPeriodDays": "8", "eventQuotaMegabytes": "many"}
USER = {"username": "a b", "role": "operator", "password": "x", "repeated": "y"}
MINE = {"old": "wrong", "new": "another one", "repeated": "another"}
USERS = "/manage/authentication/users"
CASES = [
    Case("/defend/runtime/host/rule", RULE, wrong="Watched files and folders"),
    Case("/manage/alerts/alerts", ALERTS, wrong="Address: write a full address"),
    Case("/manage/alerts/logging", LOGGING, wrong="Address: write udp://host:port"),
    Case("/manage/authentication/logon", LOGON, wrong="inactivity timeout"),
    Case("/manage/defenders/advanced", DAYS, wrong="store in a day (MB): give a whole"),
    Case(f"{USERS}/add", USER, wrong="differ"),
    Case(
        f"{USERS}/edit?username=admin",
        {"role": "operator", "password": "x", "repeated": "y"},
        f"{USERS}/edit",
        hidden={"username": "admin"},
    ),
    Case("/manage/defenders/names", {"name": "a b"}, "/manage/defenders/names/add"),
    Case("/manage/defenders/deploy", {"name": "nowhere"}),
    Case(
        "/manage/defenders/deploy",
        {"hostname": "never-here"},
        "/manage/defenders/deploy/allow",
        "never-here was ever enrolled",
    ),
    Case(
        "/manage/system/backups",
        {"name": "b" * 70, "passphrase": "p" * 12},
        "/manage/system/backups/create",
    ),
    Case(
        f"/manage/system/backups/one?id={BACKUP}",
        {"name": "new name"},
        "/manage/system/backups/rename",
        hidden={"id": BACKUP},
    ),
    Case("/profile/password", MINE),
    Case(
        "/manage/system/api/get_api_users_users",
        {"query-limit": "many", "query-search": "x", "query-sort": "role"},
        wrong="400",
    ),
]
#: They have a box, and their actions cannot fail because of what is in it.
HARMLESS = {"/manage/system/backups/verify"}


def same(case: Case, form: Form) -> dict[str, tuple[str, str]]:
    """Return the fields of a form that lost what was typed."""
    return {
        name: (typed, form.fields[name])
        for name, typed in case.sent.items()
        if name in form.fields and form.fields[name] != typed
    }


def ids(case: Case) -> str:
    """Return the name of a case: its form."""
    return case.target


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_refused_form_keeps_what_was_typed(admin: Visitor, case: Case) -> None:
    """Each field and switch keeps its value; only secrets must be typed again."""
    sent = {name: text for name, text in case.sent.items() if text}
    answer = admin.send(case.target, form_on=case.page, **sent, **case.hidden)
    if answer.status_code == 303:
        answer = admin.get(answer.location)
    forms = Forms(case.target, answer.text).found
    keys = case.sent.keys() - SECRETS
    form = next((f for f in forms if keys <= f.fields.keys()), None)
    if keys:
        assert form is not None, (answer.status_code, answer.text[:2000])
        if case.target != "/manage/defenders/deploy":  # its names are a list
            assert same(case, form) == {}
    assert case.wrong in re.sub("&[^;]+;", "'", answer.text)
    assert 'class="banner is-error"' in answer.text
    assert not any(value for each in forms for value in each.secrets.values())


def pages(app: Flask) -> list[str]:
    """Yield every page with a form."""
    plain = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or set())
        and not rule.arguments
        and not rule.rule.startswith(("/api/", "/static/"))
    ]
    return sorted({*plain, *(case.page for case in CASES)})


def test_every_form_with_fields_is_in_the_table(admin: Visitor, app: Flask) -> None:
    """A form that is added must be added to the table above."""
    tried = {case.target for case in CASES} | HARMLESS
    found = set()
    for path in pages(app):
        page = admin.get(path)
        if page.mimetype != "text/html" or page.status_code != 200:
            continue
        for form in Forms(urlsplit(path).path, page.text).found:
            if form.method == "post" and (form.fields or form.secrets):
                found.add(form.action)

    assert found - tried == set()
    assert tried - found == set()


def test_forms_without_login_keep_the_name(app: Flask) -> None:
    """The sign-up and login forms keep the username."""
    stranger = Visitor(app.test_client())
    wrong = {"username": "jane", "password": "short", "repeated": "other"}
    signup = stranger.send("/signup", **wrong)
    stranger.sign_up()
    stranger = Visitor(app.test_client())
    login = stranger.send("/login", username="jane", password=PASSWORD)

    for answer in (signup, login):
        [form] = Forms("/", answer.text).found
        assert form.fields == {"username": "jane"}
        assert set(form.secrets.values()) == {""}


def test_a_switch_that_was_on_stays_on_after_an_error(admin: Visitor) -> None:
    """A webhook switched on without an address stays on when the address is added.

    An earlier release filled the page from the stored settings: the webhook stayed off.
    """
    path = "/manage/alerts/alerts"
    wrong = admin.send(path, **{**ALERTS, "url": ""})
    [form] = [f for f in Forms(path, wrong.text).found if "enabled" in f.fields]
    mended = {**form.fields, "url": "https://203.0.113.9/hook", "secret": "x" * 20}
    sent = {name: text for name, text in mended.items() if text}
    saved = admin.send(path, **sent)
    page = admin.get(saved.location).text

    assert form.fields["enabled"] == "on"
    assert "The settings of alerts are saved. The webhook is on." in page
    [stored] = [f for f in Forms(path, page).found if "enabled" in f.fields]
    assert stored.fields["enabled"] == "on"


LISTS = {
    "/manage/authentication/users": {"role": "king", "search": "jane"},
    "/manage/defenders": {"connected": "perhaps", "search": "web"},
    "/manage/logs/history": {"from": "0202-01-01T00:00", "username": "jane"},
    "/monitor/events/host": {"to": "9999-01-01T00:00", "hostname": "web-1"},
    "/monitor/events/file-integrity": {"from": "0202-01-01T00:00", "rule": "r"},
    "/monitor/events/trouble": {"from": "0202-01-01T00:00", "hostname": "h"},
}


@pytest.mark.parametrize("path", LISTS)
def test_a_refused_filter_keeps_what_was_typed(admin: Visitor, path: str) -> None:
    """The page shows the list and the reason; the filter keeps its values."""
    sent = LISTS[path]
    answer = admin.client.get(path, query_string=sent, base_url=HTTPS)
    held: dict[str, str] = {}
    for form in Forms(path, answer.text).found:
        if form.method == "get":
            held |= {n: t for n, t in form.fields.items() if t}
    texts = {n: t for n, t in sent.items() if n not in {"role", "connected"}}

    assert answer.status_code == 400
    assert 'class="banner is-error"' in answer.text
    assert {name: held.get(name, "")[:19] for name in texts} == texts
