"""Rules of credentials: they cannot be planted, forged, exchanged or timed."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from itsdangerous import URLSafeTimedSerializer
from pymongo import monitoring

from tests.web.web_visitor import PASSWORD, USERNAME, Visitor, basic
from twistlock_console.accounts import passwords
from twistlock_console.settings import Settings
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of

SESSION = "__Host-session"
PAGE = "/profile/password"
USERS = "/api/v1/users"


def cookie_of(visitor: Visitor) -> str:
    """Return the session cookie of a browser."""
    found = visitor.client.get_cookie(SESSION, domain="console.test")
    assert found is not None
    return found.value


def browser_with(app: Flask, cookie: str) -> Visitor:
    """Return another browser with a session cookie."""
    client = app.test_client()
    client.set_cookie(SESSION, cookie, domain="console.test")
    return Visitor(client)


def test_a_planted_session_is_not_logged_in(stranger: Visitor, app: Flask) -> None:
    """The cookie from before a login gives no access after it."""
    stranger.get("/login")
    planted = cookie_of(stranger)
    stranger.log_in()

    assert cookie_of(stranger) != planted
    assert stranger.get(PAGE).status_code == 200
    assert browser_with(app, planted).get(PAGE).status_code == 303


def test_a_cookie_signed_by_another_key_is_refused(admin: Visitor, app: Flask) -> None:
    """A cookie signed by another secret or by the key of tokens is refused."""
    payload = {"_user_id": USERNAME, "login": ["id", USERNAME, 1, 9_999_999_999]}
    for key in (b"k" * 32, app.extensions["token_key"]):
        forged = str(URLSafeTimedSerializer(key, salt="cookie-session").dumps(payload))

        assert browser_with(app, forged).get(PAGE).status_code == 303


def test_a_cookie_is_no_token_and_a_token_no_cookie(admin: Visitor, app: Flask) -> None:
    """A cookie is accepted only by pages, a token only by the API."""
    bearer = {"Authorization": f"Bearer {cookie_of(admin)}"}

    assert admin.get(USERS, **bearer).status_code == 401
    assert browser_with(app, admin.token()).get(PAGE).status_code == 303


def part(value: dict[str, Any]) -> str:
    """Return a part of a token in its encoding."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "nOnE", "typ": "JWT"},
        {"alg": "HS256", "kid": "../../../../dev/null"},
        {"alg": "HS256", "jku": "https://evil.test/keys"},
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}},
        {"alg": "RS256"},
        {},
    ],
)
def test_no_header_makes_a_forged_token_valid(
    admin: Visitor, head: dict[str, Any]
) -> None:
    """The header of a token does not choose how it is verified."""
    claims = jwt.decode(admin.token(), options={"verify_signature": False})
    bare = f"{part(head)}.{part(claims)}"
    for signature in ("", "AA", admin.token().split(".")[2]):
        answer = admin.get(USERS, Authorization=f"Bearer {bare}.{signature}")

        assert answer.status_code == 401


def test_a_token_gives_no_more_than_the_account_has(admin: Visitor, app: Flask) -> None:
    """The role of the account counts, and not the role in a token."""
    token = admin.token()
    users = storage_of(app).database()["users"]
    users.update_one({"_id": USERNAME}, {"$set": {"role": "defenderManager"}})
    answer = admin.get(USERS, Authorization=f"Bearer {token}")
    users.update_one({"_id": USERNAME}, {"$set": {"role": "admin"}})

    assert answer.status_code == 403


class Commands(monitoring.CommandListener):
    """A listener that records the commands to the database."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Record a command."""
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Ignore the event."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Ignore the event."""


@contextmanager
def counted_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Count the verifications of passwords during the context."""
    done: list[str] = []
    hasher = passwords._hasher
    real: Callable[..., bool] = hasher.verify

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            done.append(stored.rpartition("$")[0].rpartition("$")[0])
            return real(stored, password)

    passwords._placeholder()
    monkeypatch.setattr(passwords, "_hasher", Counting())
    yield done


def test_an_unknown_user_costs_the_work_of_a_wrong_password(
    running: Settings, app: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of hashes and commands is the same for every user name."""
    commands = Commands()
    heard = monitoring._LISTENERS.command_listeners
    heard.append(commands)
    other = create_app(running)
    watched = Visitor(other.test_client(), "203.0.113.77")
    work = {}
    with counted_hashes(monkeypatch) as hashes:
        for name in ("warm-up", "nobody", USERNAME):
            storage_of(app).database()["login_failures"].delete_many({})
            commands.names.clear()
            hashes.clear()
            body = {"username": name, "password": "wrong password"}
            answer = watched.call("/api/v1/authenticate", body)
            work[name] = (answer.status_code, answer.text, hashes[:], commands.names[:])

    heard.remove(commands)
    storage_of(other).close()
    assert work["nobody"] == work[USERNAME]
    assert len(work[USERNAME][2]) == 1
    assert work[USERNAME][2][0].startswith("$argon2id$")


def test_all_failed_logins_have_the_same_answer(admin: Visitor) -> None:
    """No answer reveals whether the name or the password was wrong."""
    texts = {
        admin.client.post(
            "/api/v1/authenticate",
            base_url="https://console.test",
            json={"username": name, "password": secret},
        ).text
        for name, secret in (
            ("nobody", PASSWORD),
            (USERNAME, "x"),
            ("Administrator", PASSWORD),
        )
    }

    assert len(texts) == 1


@pytest.fixture
def next_primary(running: Settings, app: Flask) -> Iterator[Flask]:
    """Return the application of the next primary, with nothing in memory."""
    made = create_app(running)
    yield made
    storage_of(made).close()


def test_a_session_continues_and_ends_on_the_next_primary(
    stranger: Visitor, app: Flask, next_primary: Flask
) -> None:
    """A session stays valid after a failover; an ended one stays ended."""
    stranger.log_in()
    cookie = cookie_of(stranger)
    token = {"Authorization": f"Bearer {stranger.token()}"}
    there = browser_with(next_primary, cookie)
    before = [there.get(PAGE).status_code, there.get(USERS, **token).status_code]
    stranger.send("/logout", form_on=PAGE)
    stranger.call("/api/v1/logout", {}, **token)
    after = [there.get(PAGE).status_code, there.get(USERS, **token).status_code]

    assert before == [200, 200]
    assert after == [303, 401]


def test_a_new_password_ends_sessions_on_the_next_primary(
    admin: Visitor, app: Flask, next_primary: Flask
) -> None:
    """Sessions and tokens from before the change are invalid after a failover."""
    user = {"username": "jane", "password": "jane has a phrase", "role": "auditor"}
    admin.call(USERS, user, Authorization=basic())
    jane = Visitor(app.test_client(), admin.address)
    jane.log_in("jane", user["password"])
    there = browser_with(next_primary, cookie_of(jane))
    before = there.get(PAGE).status_code
    new = {"password": "another long phrase", "repeated": "another long phrase"}
    edit = "/manage/authentication/users/edit"
    admin.send(edit, f"{edit}?username=jane", username="jane", role="auditor", **new)

    assert (before, there.get(PAGE).status_code) == (200, 303)


def test_the_throttle_continues_on_the_next_primary(
    admin: Visitor, app: Flask, next_primary: Flask
) -> None:
    """A failover does not reset the throttle, and a known browser stays known."""
    failures = storage_of(app).database()["login_failures"]
    later = datetime.now(UTC) + timedelta(seconds=60)
    for key in ("pair:203.0.113.9:admin", "account:admin"):
        failures.replace_one({"_id": key}, {"count": 70, "until": later}, upsert=True)
    guesser = Visitor(next_primary.test_client(), "203.0.113.9")
    device = admin.client.get_cookie("__Host-device", domain="console.test")
    assert device is not None
    owner = Visitor(next_primary.test_client(), "203.0.113.9")
    owner.client.set_cookie("__Host-device", device.value, domain="console.test")
    codes = [guesser.log_in().status_code, owner.log_in().status_code]
    failures.delete_many({})

    assert codes == [429, 303]
