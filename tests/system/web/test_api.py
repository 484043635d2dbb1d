"""Rules of the REST API: authentication, rights, and refusals."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.web_visitor import PASSWORD, USERNAME, Visitor, basic
from twistlock_console.common.search_terms import index_terms
from twistlock_console.settings import Settings
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.ui.layout import add_system_tab

LOGON = "/api/v1/settings/logon"
USERS = "/api/v1/users"
OPEN = {
    "static",
    "login",
    "api_entry",
}


def test_ping_needs_nothing(blind: Flask) -> None:
    """The health check answers without a database, whatever credentials come."""
    client = blind.test_client()

    for header in ("", basic("any", "thing"), "Bearer nonsense"):
        answer = client.get("/api/v1/_ping", headers={"Authorization": header})
        assert (answer.status_code, answer.text) == (200, "OK")


def test_a_silent_database_gets_one_sentence(blind: Flask) -> None:
    """A write whose outcome is unknown is never reported as done."""
    sent = {"username": USERNAME, "password": PASSWORD}

    # One client a thread: each waits for the database until its time is over.
    with ThreadPoolExecutor(3) as pool:
        page = pool.submit(blind.test_client().get, "/login")
        read = pool.submit(blind.test_client().get, "/api/v1/settings/initialized")
        write = pool.submit(blind.test_client().post, "/api/v1/signup", json=sent)
        answers = [page.result(), read.result(), write.result()]

    assert [a.status_code for a in answers] == [503, 503, 503]
    assert "The database does not answer" in answers[0].text
    assert answers[1].get_json()["err"].startswith("the database does not answer")
    assert "may or may not be stored" in answers[2].get_json()["err"]


def test_sign_up_works_once(visitor: Visitor) -> None:
    """The API signs up the first administrator, and says whether it happened."""
    sent = {"username": USERNAME, "password": PASSWORD}
    before = visitor.get("/api/v1/settings/initialized").get_json()
    first = visitor.call("/api/v1/signup", sent)
    second = visitor.call("/api/v1/signup", sent)

    assert before == {"initialized": False}
    assert (first.status_code, first.data) == (200, b"")
    assert second.status_code == 400
    assert second.get_json() == {"err": "system already initialized"}
    assert visitor.get("/api/v1/settings/initialized").get_json() == {
        "initialized": True
    }


def test_basic_and_bearer_open_the_api(admin: Visitor) -> None:
    """HTTP Basic and bearer tokens both work, as in the product's manual."""
    by_password = admin.get(USERS, Authorization=basic())
    by_token = admin.get(USERS, Authorization=f"Bearer {admin.token()}")

    assert by_password.status_code == by_token.status_code == 200
    assert by_token.headers["Total-Count"] == "1"
    (user,) = by_token.get_json()
    assert set(user) == {"username", "role", "authType", "lastModified"}
    assert user["lastModified"].endswith("Z")


def test_a_cookie_never_opens_the_api(admin: Visitor) -> None:
    """A page of another site cannot use a browser's session to call the API."""
    answer = admin.get(USERS)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.get_json()["err"].startswith("log in first")


def test_a_wrong_password_over_basic_is_recorded(admin: Visitor) -> None:
    """Failed logins over the API enter the audit trail, successful calls do not."""
    admin.get(USERS, Authorization=basic(password="wrong"))
    trail = admin.get("/api/v1/audits/mgmt", Authorization=basic()).get_json()

    assert [entry["status"] for entry in trail] == [
        "failed login attempt",
        "signed up as the first administrator",
    ]
    assert trail[0]["sourceIP"] == admin.address
    assert trail[0]["api"] == USERS


def test_basic_authentication_can_be_disabled(admin: Visitor, app: Flask) -> None:
    """With the setting on, tokens work, the login page works, Basic does not."""
    bearer = f"Bearer {admin.token()}"
    admin.call(LOGON, {"basicAuthDisabled": True}, Authorization=bearer)

    assert admin.get(USERS, Authorization=basic()).status_code == 401
    assert admin.get(USERS, Authorization=bearer).status_code == 200
    assert Visitor(app.test_client()).log_in().status_code == 303


def test_logon_settings_are_replaced_as_a_whole(admin: Visitor) -> None:
    """A field left out of a POST gets its default; the answer is empty."""
    auth = {"Authorization": basic()}
    admin.call(LOGON, {"strongPassword": True, "sessionTimeoutSec": 600}, **auth)
    answer = admin.call(LOGON, {"sessionTimeoutSec": 900}, **auth)

    assert (answer.status_code, answer.data) == (200, b"")
    assert admin.get(LOGON, **auth).get_json() == {
        "sessionTimeoutSec": 900,
        "strongPassword": False,
        "basicAuthDisabled": False,
    }


def test_a_token_says_who_and_how_long(admin: Visitor) -> None:
    """A token carries the product's claims and ends after the session timeout."""
    claims = jwt.decode(admin.token(), options={"verify_signature": False})

    assert claims["user"] == USERNAME
    assert claims["role"] == "admin"
    assert claims["iss"] == "twistlock"
    assert claims["sessionTimeoutSec"] == 1800
    assert claims["exp"] - claims["iat"] == 1800


def test_a_token_can_be_renewed_and_ended(admin: Visitor) -> None:
    """A logout ends the token and those renewed from it."""
    old = {"Authorization": f"Bearer {admin.token()}"}
    answer = admin.get("/api/v1/authenticate/renew", **old)
    new = {"Authorization": f"Bearer {answer.get_json()['token']}"}
    before = admin.get("/api/v1/version", **new).status_code
    admin.call("/api/v1/logout", {}, **new)

    assert before == 200
    assert admin.get("/api/v1/version", **new).status_code == 401
    assert admin.get("/api/v1/version", **old).status_code == 401


def test_forged_and_old_tokens_are_refused(admin: Visitor, app: Flask) -> None:
    """A token is valid only with our key, our one algorithm, and before its end."""
    good = admin.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    key = app.extensions["token_key"]
    past = {"iat": int(time.time()) - 99, "exp": int(time.time()) - 9}
    forged = {
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "another key": jwt.encode(claims, b"k" * 32, algorithm="HS256"),
        "another algorithm": jwt.encode(claims, key + key, algorithm="HS512"),
        "another issuer": jwt.encode({**claims, "iss": "me"}, key),
        "past": jwt.encode({**claims, **past}, key),
        "without an end": jwt.encode({"user": USERNAME, "iss": "twistlock"}, key),
        "cut": good[:-4],
        "empty": "",
    }

    refused = {
        name: admin.get(USERS, Authorization=f"Bearer {token}").status_code
        for name, token in forged.items()
    }

    assert refused == dict.fromkeys(forged, 401)


def test_a_shorter_timeout_ends_older_tokens(admin: Visitor, app: Flask) -> None:
    """The present session timeout counts, and not the claim in a token."""
    good = {"Authorization": f"Bearer {admin.token()}"}
    claims = jwt.decode(admin.token(), options={"verify_signature": False})
    claims["iat"] -= 120
    older = jwt.encode(claims, app.extensions["token_key"])
    before = admin.get(USERS, Authorization=f"Bearer {older}").status_code
    admin.call(LOGON, {"sessionTimeoutSec": 60}, **good)

    assert before == 200
    assert admin.get(USERS, Authorization=f"Bearer {older}").status_code == 401
    assert admin.get(USERS, **good).status_code == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param(
            {"username": {"$ne": ""}, "password": {"$ne": ""}},
            "username: input should be a valid string",
            id="operators",
        ),
        pytest.param({"username": "a"}, "password: field required", id="missing"),
        pytest.param(
            {"username": "a", "password": "b", "role": "admin"},
            "role: unknown member; accepted here: password, username",
            id="unknown-field",
        ),
        pytest.param(["a"], "the body: input should be an object", id="not-an-object"),
    ],
)
def test_a_body_is_refused_in_one_sentence(
    visitor: Visitor, body: object, sentence: str
) -> None:
    """The sentence says what is wrong with the body and repeats nothing of it."""
    answer = visitor.call("/api/v1/authenticate", body)

    assert answer.status_code == 400
    assert answer.get_json() == {"err": sentence}


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        pytest.param(b"{", "application/json", 400, id="not-json"),
        pytest.param(b"[" * 60_000, "application/json", 400, id="very-deep"),
        pytest.param(b'{"username":"a"}', "text/plain", 415, id="another-type"),
        pytest.param(b" " * 70_000, "application/json", 413, id="too-large"),
    ],
)
def test_a_malformed_body_is_refused(
    client: FlaskClient, data: bytes, kind: str, status: int
) -> None:
    """Broken, deep, foreign and huge bodies are refused as JSON errors."""
    answer = client.post("/api/v1/authenticate", data=data, content_type=kind)

    assert answer.status_code == status
    assert list(answer.get_json()) == ["err"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=many", "limit: give a whole number; at most 50 items are returned"),
        ("offset=-1", "offset: give a whole number from 0 to 10000"),
        ("offset=10001", "offset: at most 10000; filter the list or download it"),
        ("role=king", "role: choose one of admin, operator, auditor, defenderManager"),
        ("sort=$where", "sort: choose one of lastModified, role, username"),
    ],
)
def test_a_bad_query_is_refused(admin: Visitor, query: str, sentence: str) -> None:
    """The sentence names the parameter that is invalid."""
    answer = admin.get(f"{USERS}?{query}", Authorization=basic())

    assert answer.status_code == 400
    assert answer.get_json() == {"err": sentence}


def test_a_list_is_searched_sorted_and_cut(admin: Visitor) -> None:
    """A page has at most 50 items; Total-Count is the number of all."""
    database = storage_of(admin.client.application).database()
    entry = {"type": "login", "sourceIP": "", "api": "", "status": "", "diff": ""}
    entry = {**entry, "time": datetime.now(UTC), "failure": False}
    database["audits_mgmt"].insert_many(
        {**entry, "username": f"user{n:02}", "words": index_terms(f"user{n:02}")}
        for n in range(60)
    )
    path = "/api/v1/audits/mgmt?search=USER&sort=username"
    all_of_them = admin.get(f"{path}&limit=99", Authorization=basic())
    last = admin.get(f"{path}&reverse=true&limit=2&offset=1", Authorization=basic())

    assert len(all_of_them.get_json()) == 50
    assert all_of_them.headers["Total-Count"] == "60"
    assert [e["username"] for e in last.get_json()] == ["user58", "user57"]


def test_roles_limit_what_the_api_does(admin: Visitor, app: Flask) -> None:
    """An Auditor reads settings and changes none."""
    database = storage_of(app).database()
    database["users"].update_one({"_id": USERNAME}, {"$set": {"role": "auditor"}})

    read = admin.get(LOGON, Authorization=basic())
    write = admin.call(LOGON, {}, Authorization=basic())

    assert read.status_code == 200
    assert write.status_code == 403
    assert write.get_json() == {"err": "your role does not allow this"}


def test_every_route_is_guarded_or_known_to_be_open(app: Flask) -> None:
    """A page added later cannot be left open by mistake."""
    guarded = set(app.before_request_funcs) - {None}

    unguarded = {
        rule.endpoint.partition(".")[0] for rule in app.url_map.iter_rules()
    } - guarded

    assert unguarded == OPEN


def test_a_plugin_adds_a_tab(running: Settings) -> None:
    """A tab that a plugin adds under Manage > System is in the menu."""

    class Plugin:
        def init_app(self, app: Flask) -> None:
            add_system_tab(app, "High Availability", "system.general")

    made = create_app(running, [Plugin()])

    pages = made.extensions["menu"].visible_pages(lambda _blueprint: True)
    labels = [tab.label for tab in pages[-1].tabs]
    assert labels == ["General", "Backup & Restore", "API", "High Availability"]
