"""Rules of concurrent logins: right passwords succeed, others are throttled."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.hosts.waiting import wait_for
from tests.web.web_visitor import PASSWORD, USERNAME, Visitor, basic
from twistlock_console.accounts import passwords
from twistlock_console.accounts.login_throttle import HashCaller
from twistlock_console.accounts.passwords import (
    LOGIN_PLACES,
    MAX_CONCURRENT_HASHES,
    OTHER_PLACES,
)
from twistlock_console.common.errors import Busy
from twistlock_console.servers.management import limits
from twistlock_console.web.common.database import storage_of

RIGHT = {"username": USERNAME, "password": PASSWORD}
AUTHENTICATE = "/api/v1/authenticate"
DEPLOY = f"Bearer deploy-{'x' * 43}"
AT_ONCE = limits.THREADS
FULL = LOGIN_PLACES + OTHER_PLACES


@contextmanager
def full_queue(*, known: bool = True) -> Iterator[None]:
    """Fill the queue of password checks: all workers busy, all places taken."""
    leave = threading.Event()
    logins = [
        HashCaller(f"login {n}", known, is_login=True) for n in range(LOGIN_PLACES)
    ]
    others = [HashCaller(f"other {n}", known) for n in range(OTHER_PLACES)]
    callers = [HashCaller()] * MAX_CONCURRENT_HASHES + logins + others

    def hold(caller: HashCaller) -> None:
        with suppress(Busy), passwords.queue.slot(caller):
            assert leave.wait(60)

    def arrived() -> int:
        return passwords.queue.running + passwords.queue.waiting

    with ThreadPoolExecutor(len(callers)) as pool, ExitStack() as leaving:
        leaving.callback(leave.set)
        for caller in callers[:MAX_CONCURRENT_HASHES]:
            pool.submit(hold, caller)
        wait_for(
            lambda: arrived() == MAX_CONCURRENT_HASHES, 5, "a hash at work", every=0.01
        )
        for caller in callers[MAX_CONCURRENT_HASHES:]:
            pool.submit(hold, caller)
        wait_for(lambda: arrived() == len(callers), 5, "a full queue", every=0.01)
        yield


def forget_checked_passwords(app: Flask) -> None:
    """Empty the cache of verified passwords."""
    app.extensions["password_cache"].__init__()


def is_busy_answer(answer: TestResponse) -> bool:
    """Return whether the answer is a 503 with Retry-After and a sentence."""
    sentence = "checking as many passwords as it can; try again"
    return (
        answer.status_code == 503
        and int(answer.headers["Retry-After"]) > 0
        and sentence in answer.text
    )


def test_concurrent_right_passwords_are_no_failures(admin: Visitor, app: Flask) -> None:
    """All of 100 logins from one address succeed, some after a 503."""
    forget_checked_passwords(app)

    def log_in(_: int) -> bool:
        visitor = Visitor(app.test_client(), "203.0.113.5")

        def succeeds() -> bool:
            answer = visitor.call(AUTHENTICATE, RIGHT)
            assert answer.status_code == 200 or is_busy_answer(answer), answer.text
            return answer.status_code == 200

        return wait_for(succeeds, 30, "a login", every=0.1)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        inside = list(pool.map(log_in, range(100)))

    assert inside == [True] * 100
    assert storage_of(app).database()["login_failures"].count_documents({}) == 0


def test_concurrent_wrong_passwords_get_hardly_more_attempts(
    admin: Visitor, app: Flask
) -> None:
    """Five attempts are free; one more may be checked at the same time."""

    def guess(number: int) -> int:
        visitor = Visitor(app.test_client(), "203.0.113.5")
        body = {**RIGHT, "password": f"wrong {number}"}
        return visitor.call(AUTHENTICATE, body).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = Counter(pool.map(guess, range(32)))

    assert set(codes) == {401, 429}
    assert (
        codes[401] <= 5 + MAX_CONCURRENT_HASHES + 2
    )  # and one after each of the first waits


def test_a_full_queue_answers_503_to_every_kind_of_login(
    admin: Visitor, app: Flask
) -> None:
    """API, HTTP Basic and pages answer 503 with a sentence and Retry-After."""
    token = f"Bearer {admin.token()}"
    forget_checked_passwords(app)
    stranger = Visitor(app.test_client(), "203.0.113.5")
    change = {"oldPassword": PASSWORD, "newPassword": "another password"}
    form = {"old": PASSWORD, "new": "another password", "repeated": "another password"}
    user = {"username": "jane", "password": "long enough"}
    with full_queue():
        answers = {
            "API": stranger.call(AUTHENTICATE, RIGHT),
            "unknown user": stranger.call(AUTHENTICATE, {**RIGHT, "username": "x"}),
            "Basic": stranger.get("/api/v1/users", Authorization=basic()),
            "Basic, unknown": stranger.get("/api/v1/users", Authorization=basic("x")),
            "page": stranger.log_in(),
            "new user": admin.call("/api/v1/users", user, Authorization=token),
            "new user, page": admin.send(
                "/manage/authentication/users/add",
                **user,
                role="auditor",
                repeated=user["password"],
            ),
            "password": admin.client.put(
                "/api/v1/users/password",
                json=change,
                base_url="https://console.test",
                headers={"Authorization": token},
            ),
            "password, page": admin.send("/profile/password", **form),
        }
    later = stranger.call(AUTHENTICATE, RIGHT)

    assert {
        way: answer.status_code
        for way, answer in answers.items()
        if not is_busy_answer(answer)
    } == {}
    assert re.search(r'name="username"[^>]*value="admin"', answers["page"].text)
    assert answers["API"].get_json().keys() == {"err"}
    assert later.status_code == 200


def test_other_pages_answer_while_the_queue_is_full(admin: Visitor, app: Flask) -> None:
    """Only passwords wait for passwords, and half of the threads are free."""
    token = f"Bearer {admin.token()}"
    with full_queue():
        codes = [
            admin.get("/api/v1/_ping").status_code,
            admin.get("/api/v1/settings/initialized").status_code,
            Visitor(app.test_client()).get("/login").status_code,
            admin.get("/manage/authentication/users").status_code,
            admin.get("/api/v1/users", Authorization=token).status_code,
        ]

    assert codes == [200] * 5
    assert MAX_CONCURRENT_HASHES + OTHER_PLACES <= limits.THREADS // 2
    assert LOGIN_PLACES < limits.LOGIN_THREADS


def test_a_recently_verified_password_needs_no_place_in_the_queue(
    admin: Visitor, app: Flask
) -> None:
    """A client that logs in all the time succeeds while strangers fill the queue."""
    program = Visitor(app.test_client(), "203.0.113.5")
    first = program.call(AUTHENTICATE, RIGHT)
    with full_queue():
        again = program.call(AUTHENTICATE, RIGHT)
        with_basic = program.get("/api/v1/users", Authorization=basic())

    assert [first.status_code, again.status_code] == [200, 200]
    assert with_basic.status_code == 200


@pytest.mark.parametrize("way", ["API", "Basic"])
def test_a_recently_verified_password_is_refused_during_a_wait(
    admin: Visitor, app: Flask, way: str
) -> None:
    """Otherwise an attacker during a wait would learn which guess is right."""
    admin.call(AUTHENTICATE, RIGHT)
    guesser = Visitor(app.test_client(), "203.0.113.5")
    codes = []
    for _ in range(8):
        codes.append(
            guesser.call(AUTHENTICATE, {**RIGHT, "password": "wrong"}).status_code
        )
    answer = (
        guesser.call(AUTHENTICATE, RIGHT)
        if way == "API"
        else guesser.get("/api/v1/users", Authorization=basic())
    )

    assert codes[-1] == 429
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_known_clients_have_priority_over_strangers(admin: Visitor, app: Flask) -> None:
    """An administrator logs in while strangers have all places of the queue."""
    office = Visitor(app.test_client(), "203.0.113.5")
    office.call(AUTHENTICATE, RIGHT)
    forget_checked_passwords(app)
    stranger = Visitor(app.test_client(), "203.0.113.6")
    with ThreadPoolExecutor(1) as pool, full_queue(known=False):
        known = pool.submit(office.call, AUTHENTICATE, RIGHT)
        wait_for(lambda: passwords.queue.waiting == FULL, 5, "a place", every=0.01)
        refused = stranger.call(AUTHENTICATE, {**RIGHT, "password": "wrong"})
    answer = known.result(60)

    assert answer.status_code == 200
    assert is_busy_answer(refused)


def test_a_login_that_is_being_checked_is_not_counted(
    admin: Visitor, app: Flask
) -> None:
    """Only a failure counts, when it is known."""
    forget_checked_passwords(app)
    failures = storage_of(app).database()["login_failures"]
    visitor = Visitor(app.test_client(), "203.0.113.5")
    wrong = {**RIGHT, "password": "wrong"}
    leave = threading.Event()

    def hold() -> None:
        with passwords.queue.slot(HashCaller()):
            assert leave.wait(60)

    with ThreadPoolExecutor(MAX_CONCURRENT_HASHES + 1) as pool:
        for _ in range(MAX_CONCURRENT_HASHES):
            pool.submit(hold)
        try:
            wait_for(
                lambda: passwords.queue.running == MAX_CONCURRENT_HASHES,
                5,
                "no free slot",
            )
            login = pool.submit(visitor.call, AUTHENTICATE, wrong)
            wait_for(lambda: passwords.queue.waiting == 1, 5, "a login that waits")
            meanwhile = failures.count_documents({})
        finally:
            leave.set()
        answer = login.result(60)

    assert meanwhile == 0
    assert answer.status_code == 401
    assert failures.count_documents({}) == 3  # by pair, address and account


NEED_THE_DATABASE = [
    ("GET", "/login", ""),
    ("GET", "/signup", ""),
    ("GET", "/api/v1/users", basic()),
    ("GET", "/api/v1/settings/initialized", ""),
    ("GET", "/api/v1/metrics", basic()),
    ("POST", "/api/v1/authenticate", ""),
    ("POST", "/api/v1/defenders/enrol", DEPLOY),
    ("GET", "/api/v1/scripts/defender.sh", DEPLOY),
]


def test_without_the_database_every_answer_says_when_to_try_again(blind: Flask) -> None:
    """Each 503 of pages, API and enrolment has Retry-After."""

    def ask(case: tuple[str, str, str]) -> tuple[int, str | None]:
        method, path, proof = case
        answer = blind.test_client().open(
            path,
            method=method,
            base_url="https://console.test",
            json=RIGHT if method == "POST" else None,
            headers={"Authorization": proof} if proof else {},
        )
        return answer.status_code, answer.headers.get("Retry-After")

    with ThreadPoolExecutor(len(NEED_THE_DATABASE)) as pool:
        answers = list(pool.map(ask, NEED_THE_DATABASE))

    assert answers == [(503, "2")] * len(NEED_THE_DATABASE)
