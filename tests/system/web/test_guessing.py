"""Rules of the login throttle: it slows down guesses, and no other client."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME, Visitor, basic
from twistlock_console.accounts import users
from twistlock_console.accounts.login_throttle import (
    FREE_FAILURES,
    LOCK_DURATION,
    Scope,
)
from twistlock_console.accounts.rights import UserRole
from twistlock_console.cli.user import reset_password
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.security.login_attempt import DEVICE_COOKIE

RIGHT = {"username": USERNAME, "password": PASSWORD}
WRONG = {"username": USERNAME, "password": "wrong password"}
AUTHENTICATE = "/api/v1/authenticate"
ELSEWHERE = "203.0.113.9"


def pretend(app: Flask, key: str, count: int, *, seconds: int = 0) -> None:
    """Store *count* failures, after which a wait is not over."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    storage_of(app).database()["login_failures"].replace_one(
        {"_id": key},
        {"count": count, "until": until, "expires": until + LOCK_DURATION},
        upsert=True,
    )


def test_an_address_that_guesses_many_accounts_waits(
    admin: Visitor, app: Flask
) -> None:
    """Failures of all names count for the address; then all its clients wait."""
    guesser = Visitor(app.test_client(), ELSEWHERE)
    for number in range(4):
        guesser.call(AUTHENTICATE, {**WRONG, "username": f"name{number}"})
    failures = storage_of(app).database()["login_failures"]
    counted = failures.find_one({"_id": f"address:{ELSEWHERE}"})
    pretend(app, f"address:{ELSEWHERE}", FREE_FAILURES[Scope.ADDRESS] + 5, seconds=30)

    assert counted is not None
    assert counted["count"] == 4
    assert guesser.call(AUTHENTICATE, WRONG).status_code == 429
    assert guesser.log_in().status_code == 429


def test_a_known_device_is_not_throttled_by_others(admin: Visitor, app: Flask) -> None:
    """The owner's browser logs in while its address and account are under attack."""
    admin.send("/logout", form_on="/profile/password")
    for key in (f"address:{admin.address}", f"account:{USERNAME}"):
        pretend(app, key, 60, seconds=30)
    pretend(app, f"pair:{admin.address}:{USERNAME}", 30, seconds=800)
    stranger = Visitor(app.test_client(), admin.address)
    refused = stranger.log_in()

    assert refused.status_code == 429
    assert "try again in 14 minutes" in refused.text
    assert admin.log_in().status_code == 303


def test_a_known_address_is_not_throttled_by_others(admin: Visitor, app: Flask) -> None:
    """A program is recognized by its address; others at that address still wait."""
    program = Visitor(app.test_client(), ELSEWHERE)
    before = program.call(AUTHENTICATE, RIGHT).status_code
    pretend(app, f"address:{ELSEWHERE}", 60, seconds=30)
    pretend(app, f"account:{USERNAME}", 60, seconds=30)
    other = {**RIGHT, "username": "somebody"}

    assert before == 200
    assert program.call(AUTHENTICATE, RIGHT).status_code == 200
    assert program.call(AUTHENTICATE, other).status_code == 429


def test_a_known_device_is_throttled_by_its_own_failures(
    admin: Visitor, app: Flask
) -> None:
    """A stolen browser cannot guess without limit."""
    admin.send("/logout", form_on="/profile/password")
    codes = [admin.log_in(password="wrong password").status_code for _ in range(5)]
    failures = storage_of(app).database()["login_failures"]
    counted = list(failures.find({"count": 5}))
    later = datetime.now(UTC) + timedelta(seconds=30)
    failures.update_one({"count": 5}, {"$set": {"until": later}})

    assert codes == [401] * 5
    assert [found["_id"].startswith("pair:") for found in counted] == [True]
    assert admin.log_in().status_code == 429


def test_a_success_does_not_end_the_wait_of_others(admin: Visitor, app: Flask) -> None:
    """An account cannot reset the throttle for guesses at another account."""
    guesser = Visitor(app.test_client(), ELSEWHERE)
    pretend(app, f"address:{ELSEWHERE}", 30)
    success = guesser.call(AUTHENTICATE, RIGHT).status_code
    failures = storage_of(app).database()["login_failures"]
    left = failures.find_one({"_id": f"address:{ELSEWHERE}"})

    assert success == 200
    assert left is not None
    assert left["count"] == 30


def test_a_forged_device_is_a_stranger(admin: Visitor, app: Flask) -> None:
    """A browser is known only with our signature."""
    stranger = Visitor(app.test_client(), admin.address)
    stranger.client.set_cookie(
        DEVICE_COOKIE, "WyJhZG1pbiIsIngiXQ.x", domain="console.test"
    )
    pretend(app, f"account:{USERNAME}", 60, seconds=30)

    assert stranger.log_in().status_code == 429


def test_waiting_does_not_tell_which_accounts_exist(admin: Visitor, app: Flask) -> None:
    """Unknown names are throttled like known ones."""
    guesser = Visitor(app.test_client(), ELSEWHERE)
    names = ("nobody", USERNAME)
    for name in names:
        pretend(app, f"pair:{ELSEWHERE}:{name}", 9, seconds=60)
    answers = [guesser.call(AUTHENTICATE, {**WRONG, "username": n}) for n in names]

    assert [answer.status_code for answer in answers] == [429, 429]


def test_another_case_is_no_other_account(admin: Visitor, app: Flask) -> None:
    """Other cases of a name share its free attempts."""
    guesser = Visitor(app.test_client(), ELSEWHERE)
    names = ["admin", "Admin", "ADMIN", "aDmin", "adMin"]
    codes = [
        guesser.call(AUTHENTICATE, {**WRONG, "username": name}).status_code
        for name in names
    ]
    failures = storage_of(app).database()["login_failures"]
    counted = failures.find_one({"_id": f"pair:{ELSEWHERE}:{USERNAME}"})

    assert codes == [401] * 5
    assert counted is not None
    assert counted["count"] == 5


@pytest.mark.parametrize("by", ["the command", "an administrator"])
def test_a_reset_password_works_at_once_from_everywhere(
    admin: Visitor, app: Flask, by: str
) -> None:
    """All failures of the account are deleted; those of other accounts count on."""
    store = storage_of(app).database()
    users.add(store, "Jane", "hash", UserRole.AUDITOR)
    places = {ELSEWHERE: ELSEWHERE, "2001:db8::7": "2001:db8::/64"}
    for network in places.values():
        pretend(app, f"pair:{network}:jane", 20, seconds=880)
        pretend(app, f"pair:{network}:other", 24, seconds=880)
        pretend(app, f"address:{network}", 44, seconds=30)
    pretend(app, "address:198.51.100.1", 44, seconds=30)
    pretend(app, "account:jane", 60, seconds=30)
    sent = {"username": "jane", "password": "another long phrase"}
    visitors = [Visitor(app.test_client(), address) for address in places]
    before = [each.call(AUTHENTICATE, sent).status_code for each in visitors]
    if by == "the command":
        reset_password(store, "JANE", sent["password"])
    else:
        headers = {"Authorization": basic()}
        admin.client.put("/api/v1/users", json=sent, base_url=HTTPS, headers=headers)
    pretend(app, f"address:{ELSEWHERE}", 19)

    after = [each.call(AUTHENTICATE, sent).status_code for each in visitors]
    left = {each["_id"]: each["count"] for each in store["login_failures"].find()}

    assert before == [429, 429]
    assert after == [200, 429]
    assert left == {
        f"pair:{ELSEWHERE}:other": 24,
        "pair:2001:db8::/64:other": 24,
        f"address:{ELSEWHERE}": 19,
        "address:2001:db8::/64": 24,
        "address:198.51.100.1": 44,
    }


def test_twenty_wrong_passwords_then_a_reset(admin: Visitor, app: Flask) -> None:
    """The account is locked for 15 minutes, and open at once after the reset."""
    store = storage_of(app).database()
    person = Visitor(app.test_client(), ELSEWHERE)
    past = {"$set": {"until": datetime.now(UTC) - timedelta(seconds=1)}}
    for _ in range(20):
        store["login_failures"].update_many({}, past)
        person.call(AUTHENTICATE, WRONG)
    locked = person.call(AUTHENTICATE, RIGHT).status_code
    token = admin.token()
    reset_password(store, USERNAME, "another long phrase")
    new = {**RIGHT, "password": "another long phrase"}

    assert locked == 429
    assert person.call(AUTHENTICATE, new).status_code == 200
    ended = admin.get("/api/v1/users", Authorization=f"Bearer {token}")
    assert ended.status_code == 401
