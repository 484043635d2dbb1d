"""The parts of a request that API calls and pages read: bodies, queries, passwords."""

import json
from functools import cache
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException

from plugins.ha.web.api import SwitchoverBody
from plugins.ha.web.joining import JoinBody
from tests.fuzz.parsers import Parser, allowed, check_sentence, text_of
from twistlock_console.accounts.credential_rules import check_password, check_username
from twistlock_console.accounts.login_settings import LogonSettings
from twistlock_console.alerts.settings import AlertSettings, LoggingSettings
from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import parse_json
from twistlock_console.common.models import Body
from twistlock_console.common.opaque_string import (
    candidate_forms,
    opaque_string,
    refused_character,
)
from twistlock_console.common.redaction import redact_text
from twistlock_console.common.search_terms import index_terms, query_terms
from twistlock_console.names import name_key
from twistlock_console.policies.host_body import HostPolicyBody, parse_policy
from twistlock_console.web.actions.defenders import DefenderSettingsBody, NamesBody
from twistlock_console.web.api.backups import NewBackup, Verification
from twistlock_console.web.api.deployment import EnrolBody
from twistlock_console.web.lists.query import ListRequest, build_filter, sort_order
from twistlock_console.web.lists.registry import LISTS
from twistlock_console.web.openapi.api_call import (
    parse_json_body,
    read_form,
    read_json_body,
)
from twistlock_console.web.openapi.models import PasswordChange, UserBody
from twistlock_console.web.security.login_attempt import LoginCredentials

SAMPLES: dict[type[Body], bytes] = {
    LoginCredentials: b'{"username":"a","password":"b"}',
    UserBody: b'{"username":"a","password":"b","role":"auditor","authType":"basic"}',
    PasswordChange: b'{"oldPassword":"a","newPassword":"b"}',
    LogonSettings: b'{"sessionTimeoutSec":600,"strongPassword":true}',
    AlertSettings: b'{"webhook":{"enabled":true,"url":"https://x.test/a?b=c","secret":'
    b'{"plain":"0123456789abcdef"}},"triggers":{},"nodeLostSeconds":60}',
    LoggingSettings: b'{"syslog":{"enabled":true,"addr":"tcp://[::1]:514"}}',
    DefenderSettingsBody: b'{"alertHours":5,"eventQuotaMegabytes":50}',
    NamesBody: b'{"consoleSAN":["a.test","10.0.0.9"]}',
    NewBackup: b'{"name":"nightly","passphrase":"correct horse"}',
    Verification: b'{"restore":true}',
    EnrolBody: b'{"defender":"web-1","request":"x","certificate":"y"}',
    JoinBody: b'{"address":"10.0.0.2","version":"1","request":"x"}',
    SwitchoverBody: b'{"address":"10.0.0.2"}',
}
POLICY = (
    b'{"rules":[{"name":"r","hosts":["web-*"],"notes":"n","processes":{"denied":["nc",'
    b'"/tmp/*"],"effect":"prevent"},"files":{"paths":[{"path":"/etc","recursive":true}],'
    b'"exclusions":["*.swp"]},"compliance":{"checks":["ssh-tries"],"everyHours":12}}]}'
)


@cache
def app() -> Flask:
    """Return an application without routes."""
    return Flask("fuzz")


def _sent(data: bytes) -> Any:
    return app().test_request_context(
        "/x", method="POST", data=data, content_type="application/json"
    )


def body_check(kind: type[Body]) -> Any:
    """Return a check that reads *kind* from JSON, and from the fields of a form."""

    def check(data: bytes) -> None:
        with _sent(data), allowed(Refused):
            body = read_json_body(kind)
            assert kind.model_validate_json(body.model_dump_json(by_alias=True)) == body
        fields = {"username": text_of(data), "address": text_of(data)}
        with allowed(Refused):
            read_form(kind, fields)

    return check


def check_policy(data: bytes) -> None:
    """Read the rules for hosts that somebody sent."""
    with _sent(data), allowed(Refused):
        given = parse_json_body(HostPolicyBody)
        parse_policy(given)


def check_json(data: bytes) -> None:
    """Read any JSON; what was read is written so that it reads again."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert parse_json(json.dumps(value).encode()) == value


def check_query(data: bytes) -> None:
    """Read which part of each list is asked for, and find it with a query."""
    with app().test_request_context("/x?" + data.decode("latin-1")) as context:
        try:
            given = context.request.args.to_dict()
        except HTTPException:
            return
    for listable in LISTS:
        with allowed(Refused):
            asked = ListRequest.from_arguments(given, listable)
            assert (asked.offset >= 0, 1 <= asked.limit <= 50) == (True, True)
            assert sort_order(listable, asked)
            build_filter(listable, asked)
            again = ListRequest.from_arguments(asked.arguments, listable)
            assert again.arguments == asked.arguments


def check_text(data: bytes) -> None:
    """Read a username, a password, words to search for, and text with secrets in it."""
    text = text_of(data)
    assert opaque_string(opaque_string(text)) == opaque_string(text)
    assert text in candidate_forms(text)
    assert (refused_character(text) is None) or refused_character(text) in text
    with allowed(Refused):
        check_username(text)
    for strong in (True, False):
        with allowed(Refused):
            check_password(text, "admin", strong=strong)
    assert all(query_terms(text))
    assert all(index_terms(text))
    name_key(text)
    redact_text(text)


def check_arguments(data: bytes) -> None:
    """Read sentences about odd members: they stand in logs and on pages."""
    members = {text_of(part): 1 for part in data.split(b"\n")}
    for kind in (LoginCredentials, LoggingSettings):
        try:
            with _sent(json.dumps(members).encode()):
                read_json_body(kind)
        except Refused as error:
            check_sentence(str(error))


PARSERS = (
    *(
        Parser(kind.__name__, body_check(kind), (sample,), is_json=True)
        for kind, sample in SAMPLES.items()
    ),
    Parser("host policy", check_policy, (POLICY, b'{"rules":[]}'), is_json=True),
    Parser("JSON", check_json, (POLICY, b'{"a":1,"b":[1e5,null]}'), is_json=True),
    Parser(
        "query",
        check_query,
        (
            b"limit=5&offset=2&sort=time&reverse=true&search=a",
            b"from=2026-11-24T09:30:00Z&to=2026-11-24T09:30:00%2B14:00",
            b"connected=true&role=admin&type=login&hostname=a&effect=alert",
        ),
    ),
    Parser("text", check_text, (b"admin", "Pässwörter sind\u00a0lang".encode())),
    Parser("members", check_arguments, (b"usernam\npasswort", b"a\nb\nc")),
)
