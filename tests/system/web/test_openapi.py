"""Rules of openapi.json: it describes every call, and descriptions are correct."""

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

#: Calls that are not described yet.
NOT_YET: set[str] = set()


@pytest.fixture(scope="module")
def whole(running: Settings) -> Flask:
    """Return the whole application, with high availability."""
    return wsgi.create(replace(running, plugin_values=WITH_HA))


def test_every_call_is_described(whole: Flask) -> None:
    """Each call is described beside its route."""
    missing = {
        openapi_path(rule)
        for rule, _method in api_rules(whole)
        if api_call_of(whole.view_functions[rule.endpoint]) is None
    }

    assert missing == NOT_YET


def test_every_call_has_a_summary_and_its_roles(whole: Flask) -> None:
    """Each call has a summary, its roles, and the errors of its guard."""
    areas = areas_of(whole)
    paths = build_document(whole)["paths"]
    for rule, method in api_rules(whole):
        operation = paths[openapi_path(rule)][method.lower()]
        guarded = rule.endpoint.rpartition(".")[0] in areas

        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert guarded is ("403" in operation["responses"])
        assert guarded is ("security" not in operation)


def test_the_description_is_served_to_accounts(admin: Visitor) -> None:
    """Tools read it with an account; it has the version of the API."""
    answer = admin.get("/api/v1/openapi.json", Authorization=basic())
    stranger = admin.get("/api/v1/openapi.json")

    assert answer.get_json()["openapi"] == "3.1.0"
    assert "/api/v1/users" in answer.get_json()["paths"]
    assert stranger.status_code == 401


def test_a_list_describes_its_parameters(whole: Flask) -> None:
    """A list describes all parameters that it reads."""
    call = build_document(whole)["paths"]["/api/v1/users"]["get"]
    names = {parameter["name"] for parameter in call["parameters"]}

    assert {"limit", "offset", "search", "sort", "reverse"} <= names
    assert "Total-Count" in call["responses"]["200"]["headers"]


def test_a_body_of_another_type_than_described_is_not_read(
    admin: Visitor, app: Flask
) -> None:
    """A route fails if it reads another type than it describes."""
    view = app.view_functions["api_settings.set_logon"]
    ApiCall(body=int)(view)
    try:
        answer = admin.call("/api/v1/settings/logon", {}, Authorization=basic())
    finally:
        ApiCall(body=LogonSettings)(view)

    assert answer.status_code == 500
