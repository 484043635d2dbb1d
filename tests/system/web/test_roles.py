"""Rules of rights: each role against every page and API path, as in docs/roles.md.

The guards are the real ones, and the views behind them are replaced: the test sees that
a role is admitted to "delete" without deleting anything. After a change, generate the
page with ROLES_PAGE=write and review the difference.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

import wsgi
from plugins.ha.settings import HaSettings
from tests.web.web_visitor import HTTPS, PASSWORD, basic
from twistlock_console import plugins
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.rights import CORE_AREAS, Right, UserRole, may
from twistlock_console.accounts.sessions import Session
from twistlock_console.settings import Settings
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.openapi.document import build_document
from twistlock_console.web.security.guards import SAFE_METHODS, areas_of
from twistlock_console.web.security.sessions import SESSION_COOKIE_KEY, now

WITH_HA = HaSettings(enabled=True).values()

PAGE = Path(__file__).parents[3] / "docs" / "roles.md"
API_PAGE = PAGE.with_name("api.md")
API_TABLE = "| method | path | what it does |\n|---|---|---|\n"
ADMITTED = "admitted"
WORDS = {Right.NONE: "-", Right.READ: "read", Right.CHANGE: "read, change"}
HEAD = """# Roles

Each user has one role, which applies to the pages and to the API.
A test tries each role against every page and path, and writes this page.

| what | {roles} |
|---|{lines}|
"""
PATHS = """
## Pages and paths

*Anyone* means without logging in.
Hosts that join and Defenders that enrol use tokens of their own instead of an account.

| method | page or path | {roles} | anyone |
|---|---|{lines}|---|
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method on a path; *pattern* is the path with its variables."""

    method: str
    path: str
    pattern: str
    blueprint: str


@pytest.fixture(scope="module")
def guarded(running: Settings) -> Iterator[Flask]:
    """Return the whole application; its views only answer that they were reached."""
    made = wsgi.create(replace(running, plugin_values=WITH_HA))
    made.config["WTF_CSRF_ENABLED"] = False  # it is tried elsewhere
    for endpoint in made.view_functions:
        made.view_functions[endpoint] = lambda **_parts: ADMITTED
    users = storage_of(made).database()["users"]
    users.delete_many({})
    hashed = hash_password(PASSWORD)
    users.insert_many(
        {
            "_id": role.value,
            "role": role.value,
            "passwordHash": hashed,
            "authType": "basic",
            "sessionEpoch": 1,
            "lastModified": datetime.now(UTC),
        }
        for role in UserRole
    )
    yield made
    users.delete_many({})
    storage_of(made).close()


def endpoints(app: Flask) -> list[Endpoint]:
    """Return every method on every path of *app*."""
    found = [
        Endpoint(
            method=method,
            path=re.sub("<[^>]+>", "1", rule.rule),
            pattern=re.sub("<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule),
            blueprint=rule.endpoint.rpartition(".")[0],
        )
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]
    return sorted(found, key=lambda endpoint: (endpoint.pattern, endpoint.method))


def is_admitted(app: Flask, endpoint: Endpoint, role: UserRole | None) -> bool:
    """Return whether *role*, or a stranger for None, is admitted."""
    client = app.test_client()
    headers = {}
    if role is not None and endpoint.path.startswith("/api/"):
        headers["Authorization"] = basic(role.value)
    elif role is not None:
        session = Session("id", role.value, 1, now())
        with client.session_transaction(base_url=HTTPS) as cookie:
            cookie["_user_id"] = role.value
            cookie[SESSION_COOKIE_KEY] = [
                session.id,
                session.username,
                1,
                session.issued,
            ]
    answer = client.open(
        endpoint.path, method=endpoint.method, base_url=HTTPS, headers=headers
    )
    refused = answer.status_code in {401, 403} or (
        answer.status_code == 303 and answer.location.startswith("/login")
    )
    assert refused or answer.text == ADMITTED, (endpoint, role, answer.text)
    return not refused


def test_each_role_against_every_endpoint(guarded: Flask) -> None:
    """Only the roles in the table of rights are admitted; strangers to open paths."""
    areas = areas_of(guarded)
    wrong = [
        (endpoint, role, area)
        for endpoint in endpoints(guarded)
        if (area := areas.get(endpoint.blueprint))
        for role in UserRole
        if is_admitted(guarded, endpoint, role)
        != may(role, area, change=endpoint.method not in SAFE_METHODS)
    ]
    open_to_all = {
        endpoint.blueprint
        for endpoint in endpoints(guarded)
        if endpoint.blueprint in areas and is_admitted(guarded, endpoint, None)
    }

    assert wrong == []
    assert open_to_all == set()


def test_the_manual_shows_what_came_out(guarded: Flask) -> None:
    """docs/roles.md is generated by this test, so it agrees with the code."""
    shown = page(guarded)
    if os.environ.get("ROLES_PAGE") == "write":
        PAGE.write_text(shown)

    assert PAGE.read_text() == shown


def test_the_manual_lists_every_call_of_the_api(running: Settings) -> None:
    """The table of docs/api.md is generated by this test as well."""
    app = wsgi.create(replace(running, plugin_values=WITH_HA))
    head, table, _ = API_PAGE.read_text().partition(API_TABLE)
    shown = head + table + "".join(api_calls(app))
    if os.environ.get("ROLES_PAGE") == "write":
        API_PAGE.write_text(shown)

    assert table
    assert API_PAGE.read_text() == shown


def api_calls(app: Flask) -> Iterator[str]:
    """Yield a row for each call, from the OpenAPI document."""
    for path, methods in build_document(app)["paths"].items():
        for method, call in methods.items():
            yield f"| {method.upper()} | `{path}` | {call['summary']} |\n"


def page(app: Flask) -> str:
    """Return the page, from the table of rights and from the results."""
    labels = {
        "roles": " | ".join(role.label for role in UserRole),
        "lines": "|".join("---" for _ in UserRole),
    }
    added = (area for plugin in plugins.installed() for area in plugin.rights)
    areas = [
        _row(area.title, *(WORDS[area.right_of(role)] for role in UserRole))
        for area in (*CORE_AREAS, *added)
        if area.documented
    ]
    tried = [
        _row(
            endpoint.method,
            f"`{endpoint.pattern}`",
            *(
                "yes" if is_admitted(app, endpoint, role) else "-"
                for role in (*UserRole, None)
            ),
        )
        for endpoint in endpoints(app)
    ]
    head, paths = HEAD.format(**labels), PATHS.format(**labels)
    return head + "\n".join(areas) + "\n" + paths + "\n".join(tried) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
