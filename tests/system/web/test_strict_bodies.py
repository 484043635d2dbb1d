"""Rule: a call refuses every member that it does not know, and drops nothing."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

import wsgi
from plugins.ha.settings import HaSettings
from plugins.ha.web import node_client
from tests.web.fake_node_api import FakeNodeApi
from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME, Visitor, basic
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.rights import UserRole
from twistlock_console.accounts.users import new_document
from twistlock_console.defenders.deployment import create_token
from twistlock_console.policies.host import read_policy
from twistlock_console.settings import Settings
from twistlock_console.web.actions import backups
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.openapi.api_call import JSON
from twistlock_console.web.openapi.document import (
    api_rules,
    build_document,
    openapi_path,
)

WITH_HA = HaSettings(enabled=True).values()

POLICY = "/api/v1/policies/runtime/host"
EXTRA = "unknownMember"
#: What is counted or written while requests are refused, too.
NOISE = {"audits_mgmt", "deploy_tokens", "known_origins", "login_failures", "users"}


class Call(NamedTuple):
    """One call of the API, as openapi.json describes it."""

    method: str
    path: str
    described: dict[str, Any]


class RecordingNodeApi(FakeNodeApi):
    """A fake of the node API that records its requests."""

    def __init__(self) -> None:
        self.orders: list[str] = []

    def post(self, path: str, body: object) -> Any:
        """Record the request, and answer as the fake does."""
        self.orders.append(path)
        return super().post(path, body)


@pytest.fixture(scope="module")
def node_api() -> RecordingNodeApi:
    """Return the fake of the node API."""
    return RecordingNodeApi()


@pytest.fixture(scope="module")
def whole(running: Settings, node_api: RecordingNodeApi) -> Iterator[Flask]:
    """Return the whole application with an administrator and high availability."""
    made = wsgi.create(replace(running, plugin_values=WITH_HA))
    made.extensions[node_client.EXTENSION] = node_api
    made.extensions[backups.EXTENSION] = node_api
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    database["settings"].insert_one({"_id": "initialized"})
    hashed = hash_password(PASSWORD)
    database["users"].insert_one(new_document(USERNAME, hashed, UserRole.ADMIN))
    yield made
    for name in database.list_collection_names():
        database[name].delete_many({})
    storage_of(made).close()


def calls(app: Flask) -> list[Call]:
    """Return every call that changes something."""
    document = build_document(app)["paths"]
    return [
        Call(method, path, document[path][method.lower()])
        for rule, method in api_rules(app)
        if method not in {"GET", "HEAD"} and (path := openapi_path(rule))
    ]


def send(app: Flask, call: Call, **content: Any) -> Any:
    """Send one call with the credentials that it requires."""
    bearer = call.path.endswith(("/enrol", "/join-requests"))
    token = create_token(storage_of(app).database())[0] if bearer else ""
    return app.test_client().open(
        re.sub("{[^}]+}", "127.0.0.9", call.path),
        method=call.method,
        base_url=HTTPS,
        headers={"Authorization": f"Bearer {token}" if bearer else basic()},
        **content,
    )


def filled(schema: dict[str, Any], known: dict[str, Any]) -> Iterator[Any]:
    """Return values of *schema* that together contain each of its objects."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if either := schema.get("anyOf"):
        for part in either:
            yield from filled(part, known)
    elif "properties" in schema:
        members = {n: list(filled(p, known)) for n, p in schema["properties"].items()}
        for number in range(max(map(len, members.values()))):
            yield {n: v[min(number, len(v) - 1)] for n, v in members.items()}
    elif schema.get("type") == "array":
        yield from ([value] for value in filled(schema["items"], known))
    else:
        yield "text"


def with_extra(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield copies of *value* with an unknown member in one object, and its path."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, part in list(steps) if isinstance(value, (dict, list)) else ():
        for where, changed in with_extra(part, f"{path}{step}."):
            copy = deepcopy(value)
            copy[step] = changed
            yield where, copy
    if isinstance(value, dict):
        yield f"{path}{EXTRA}", {**value, EXTRA: {"a": 1}}


def stored(app: Flask) -> dict[str, list[Any]]:
    """Return all documents, except those that each request writes."""
    database = storage_of(app).database()
    names = set(database.list_collection_names()) - NOISE
    return {name: list(database[name].find().sort("_id")) for name in sorted(names)}


def test_every_body_refuses_an_unknown_member_at_every_depth(
    whole: Flask, node_api: RecordingNodeApi
) -> None:
    """The error has its path; nothing is stored, and the node gets no request."""
    schemas = build_document(whole)["components"]["schemas"]
    before, node_api.orders[:] = stored(whole), []
    tried: dict[str, set[str]] = {}
    for call in calls(whole):
        content = call.described.get("requestBody", {}).get("content", {})
        for value in (
            filled(content[JSON]["schema"], schemas) if JSON in content else ()
        ):
            for where, body in with_extra(value):
                answer = send(whole, call, json=body)
                place = re.sub(r"^rules\.\d+\.", "", where)

                assert answer.status_code == 400, (call.path, where, answer.text)
                assert f"{place}: unknown member" in answer.get_json()["err"]
                tried.setdefault(call.path, set()).add(where)

    assert tried[POLICY] == {
        EXTRA,
        f"rules.0.{EXTRA}",
        f"rules.0.processes.{EXTRA}",
        f"rules.0.files.{EXTRA}",
        f"rules.0.files.paths.0.{EXTRA}",
        f"rules.0.compliance.{EXTRA}",
    }
    assert f"webhook.secret.{EXTRA}" in tried["/api/v1/settings/alerts"]
    assert f"syslog.{EXTRA}" in tried["/api/v1/settings/logging"]
    assert len(tried) >= 14
    assert (stored(whole), node_api.orders) == (before, [])


def test_openapi_describes_closed_bodies(whole: Flask) -> None:
    """Each object of each body is closed, at every depth."""
    document = build_document(whole)
    schemas = document["components"]["schemas"]

    def open_objects(part: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        if isinstance(part, list):
            part = dict(enumerate(part))
        if not isinstance(part, dict):
            return
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            yield from open_objects(schemas[name], seen | {name})
        is_object = isinstance(part.get("properties"), dict)
        if is_object and part.get("additionalProperties") is not False:
            yield str(part.get("title"))
        for each in part.values():
            yield from open_objects(each, seen)

    bodies = [call.described.get("requestBody") for call in calls(whole)]

    assert [name for body in bodies for name in open_objects(body)] == []


def test_a_call_without_a_body_refuses_one(
    whole: Flask, node_api: RecordingNodeApi
) -> None:
    """Its sender believes that the body has an effect; an empty body is accepted."""
    sent: dict[str, int] = {}
    node_api.orders.clear()
    for call in calls(whole):
        if "requestBody" not in call.described:
            answer = send(whole, call, json={"address": "127.0.0.8"})
            sent[call.path] = answer.status_code

            assert "this call takes no body" in answer.get_json()["err"], call.path

    assert set(sent.values()) == {400}
    assert len(sent) >= 10
    assert node_api.orders == []
    apply = next(c for c in calls(whole) if c.path.endswith("/high-availability/apply"))
    for empty in (b"", b"{}", b"null", b' \n""'):
        send(whole, apply, data=empty, content_type=JSON)
    assert node_api.orders == ["/v1/ha/apply"] * 4


def test_a_body_that_may_be_left_out_is_not_dropped(
    whole: Flask, node_api: RecordingNodeApi
) -> None:
    """This holds for any content type: curl sends that of a form by default."""
    node_api.orders.clear()
    for call in calls(whole):
        if call.described.get("requestBody", {}).get("required", True):
            continue
        answer = send(
            whole,
            call,
            data='{"address": "127.0.0.8", "restore": true}',
            content_type="application/x-www-form-urlencoded",
        )

        assert answer.status_code == 415, call.path
    assert node_api.orders == []


def put(admin: Visitor, body: object) -> Any:
    """Replace the policy."""
    return admin.client.put(
        POLICY, json=body, base_url=HTTPS, headers={"Authorization": basic()}
    )


MALWARE = {"deniedProcesses": {"effect": "prevent", "paths": ["/usr/bin/nc"]}}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            {"antiMalware": MALWARE},
            "rule 'x': this Console does not enforce antiMalware;",
            id="another-products",
        ),
        pytest.param(
            {"network": {}, "dns": {}, "collections": [{"name": "All"}]},
            "does not enforce network, dns, collections;",
            id="several",
        ),
        pytest.param(
            {"proceses": {"denied": ["nc"]}},
            "rule 'x': proceses: unknown member (did you mean 'processes'?); accepted",
            id="typing-error",
        ),
        pytest.param(
            {"processes": {"deny": ["nc"]}},
            "rule 'x': processes.deny: unknown member (did you mean 'denied'?); "
            "accepted here: denied, effect",
            id="deeper",
        ),
        pytest.param(
            {"hosts": ["a, b"]}, "hosts.0: 'a, b' matches no host", id="hosts"
        ),
        pytest.param({"hosts": ["a b"]}, "hosts.0: 'a b' matches no host", id="blank"),
        pytest.param(
            {"processes": {"denied": ["xmrig, nc"]}},
            "processes.denied.0: 'xmrig, nc' is one name with a comma",
            id="processes",
        ),
        pytest.param(
            {"processes": {"denied": ["nc "]}},
            "processes.denied.0: 'nc ' begins or ends with a blank",
            id="blank-at-the-end",
        ),
        pytest.param(
            {"files": {"exclusions": ["etc/*"]}},
            "files.exclusions.0: 'etc/*' is not an absolute path",
            id="relative-exclusion",
        ),
        pytest.param(
            {"compliance": {"checks": ["SSH root login"]}},
            "compliance.checks.0: there is no check 'SSH root login' "
            "(did you mean 'ssh-root-login'?)",
            id="check",
        ),
        pytest.param(
            {"compliance": 7}, "compliance: input should be an object", id="7"
        ),
    ],
)
def test_a_rule_that_would_not_be_enforced_is_refused(
    admin: Visitor, app: Flask, rule: dict[str, object], words: str
) -> None:
    """The error names the member; the stored rules stay unchanged."""
    assert put(admin, {"rules": [{"name": "kept"}]}).status_code == 200
    answer = put(admin, {"rules": [{"name": "x", **rule}]})

    assert answer.status_code == 400
    assert words in answer.get_json()["err"]
    assert [r.name for r in read_policy(storage_of(app).database()).rules] == ["kept"]


def test_valid_entries_are_accepted(admin: Visitor, app: Flask) -> None:
    """Patterns, paths with commas, and every check are accepted."""
    rule = {
        "name": "x",
        "hosts": ["web-[0-9]?", "*.example.com", "DB_1", "web-[1,2]", "[!a]*"],
        "processes": {"denied": ["/opt/a, b", "x?y"]},
        "files": {"paths": [{"path": "/srv/a, b"}], "exclusions": ["/srv/*, c"]},
        "compliance": {"checks": ["ssh-root-login"]},
    }

    assert put(admin, {"rules": [rule]}).status_code == 200
    [stored_rule] = read_policy(storage_of(app).database()).rules
    assert stored_rule.files.paths[0].path == "/srv/a, b"


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        pytest.param({"_id": "hostRuntime"}, 200, "", id="as-others-give-it"),
        pytest.param({"_id": None}, 200, "", id="null"),
        pytest.param({"_id": "containerRuntime"}, 400, "_id: input should", id="other"),
        pytest.param({"id": "hostRuntime"}, 400, "did you mean '_id'?", id="id"),
        pytest.param(
            {"rulez": []}, 400, "accepted here: _id, rules", id="typing-error"
        ),
    ],
)
def test_members_beside_the_rules_are_accepted_or_named(
    admin: Visitor, members: dict[str, object], status: int, words: str
) -> None:
    """The id of the policy is accepted; an unknown member is named in the error."""
    answer = put(admin, {"rules": [{"name": "x"}], **members})

    assert answer.status_code == status
    assert words in answer.text
    assert "send {" not in answer.text


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"compliance": {"everyHours": True}}, "compliance.everyHours"),
        ({"compliance": {"everyHours": "24"}}, "compliance.everyHours"),
        ({"files": {"paths": [{"path": "/a", "recursive": 1}]}}, "recursive"),
        ({"disabled": "no"}, "disabled"),
        ({"disabled": 0}, "disabled"),
        ({"modified": 0}, "modified"),
    ],
)
def test_a_rule_refuses_values_of_another_type(
    admin: Visitor, rule: dict[str, object], place: str
) -> None:
    """Converting a value could leave a host without the protection meant."""
    answer = put(admin, {"rules": [{"name": "r", **rule}]})

    assert answer.status_code == 400
    assert f"{place}: input should be a valid " in answer.get_json()["err"]


@pytest.mark.parametrize("body", [{}, [], {"_id": "hostRuntime"}, "rules"])
def test_a_policy_without_rules_is_refused(admin: Visitor, body: object) -> None:
    """A body without rules does not mean "no rules", which would delete all."""
    answer = put(admin, body)

    assert answer.status_code == 400
    assert 'send {"rules": [...]}' in answer.get_json()["err"]


def test_an_answer_can_be_sent_back(admin: Visitor, app: Flask) -> None:
    """This includes entries of an earlier release that a new rule may not have."""
    assert put(admin, {"rules": [{"name": "old"}, {"name": "new"}]}).status_code == 200
    old = {"rules.rules.0.hosts": ["a, b"], "rules.rules.0.compliance.checks": ["5.1"]}
    storage_of(app).database()["policies"].update_one({}, {"$set": old})
    given = admin.get(POLICY, Authorization=basic()).get_json()
    again = put(admin, given)
    given["rules"][1]["hosts"] = ["b, c"]

    assert given["rules"][0]["compliance"]["checks"] == ["5.1"]
    assert again.status_code == 200
    assert put(admin, given).status_code == 400


def test_a_repeated_member_is_refused(client: FlaskClient) -> None:
    """One of the two would be lost; all bodies are parsed by one function."""
    answer = client.post(
        "/api/v1/authenticate",
        data=b'{"username": "a", "username": "b", "password": "c"}',
        content_type=JSON,
        base_url=HTTPS,
    )

    assert answer.status_code == 400
    assert answer.get_json()["err"] == "username: an object has it twice; send it once"


def test_unknown_query_parameters_are_ignored_by_every_call(admin: Visitor) -> None:
    """Clients of other products send some with each request; see docs/api.md."""
    for path in ("/users", "/defenders/names", "/version", "/logs/console"):
        answer = admin.get(f"/api/v1{path}?project=Central", Authorization=basic())

        assert answer.status_code == 200, path
