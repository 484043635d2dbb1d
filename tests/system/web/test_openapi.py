"""Rules of openapi.json: it describes every call, and what it says is true."""

from dataclasses import replace

import pytest
from flask import Flask

import wsgi
from plugins.ha.settings import HaSettings
from tests.web.web_visitor import Visitor, basic
from twistlock_console.accounts.login_settings import LogonSettings
from twistlock_console.settings import Settings
from twistlock_console.web.openapi.api_call import ApiCall, api_call_of
from twistlock_console.web.openapi.document import (
    api_rules,
    build_document,
    openapi_path,
)
from twistlock_console.web.security.guards import areas_of

WITH_HA = HaSettings(enabled=True).values()

#: Calls whose room has not described them yet.
NOT_YET: set[str] = set()


@pytest.fixture(scope="module")
def whole(running: Settings) -> Flask:
    """The whole application, high availability included."""
    return wsgi.create(replace(running, plugin_values=WITH_HA))


def test_every_call_is_described(whole: Flask) -> None:
    """A call that is added is described beside its route, in one line."""
    missing = {
        openapi_path(rule)
        for rule, _method in api_rules(whole)
        if api_call_of(whole.view_functions[rule.endpoint]) is None
    }

    assert missing == NOT_YET


def test_every_call_says_what_it_is_for(whole: Flask) -> None:
    """Each has a summary, who may use it, and the errors that its guard brings."""
    areas = areas_of(whole)
    told = build_document(whole)["paths"]
    for rule, method in api_rules(whole):
        operation = told[openapi_path(rule)][method.lower()]
        guarded = rule.endpoint.rpartition(".")[0] in areas

        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert guarded is ("403" in operation["responses"])
        assert guarded is ("security" not in operation)


def test_the_description_is_served_to_accounts(admin: Visitor) -> None:
    """Tools read it with an account; it says which release it describes."""
    answer = admin.get("/api/v1/openapi.json", Authorization=basic())
    stranger = admin.get("/api/v1/openapi.json")

    assert answer.get_json()["openapi"] == "3.1.0"
    assert "/api/v1/users" in answer.get_json()["paths"]
    assert stranger.status_code == 401


def test_a_list_says_what_it_can_be_asked_for(whole: Flask) -> None:
    """The parameters of a list are those that it reads."""
    call = build_document(whole)["paths"]["/api/v1/users"]["get"]
    names = {parameter["name"] for parameter in call["parameters"]}

    assert {"limit", "offset", "search", "sort", "reverse"} <= names
    assert "Total-Count" in call["responses"]["200"]["headers"]


def test_a_body_that_is_not_described_is_not_read(admin: Visitor, app: Flask) -> None:
    """What a route describes and what it reads cannot differ."""
    view = app.view_functions["api_settings.set_logon"]
    ApiCall(body=int)(view)
    try:
        answer = admin.call("/api/v1/settings/logon", {}, Authorization=basic())
    finally:
        ApiCall(body=LogonSettings)(view)

    assert answer.status_code == 500
