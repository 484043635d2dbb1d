"""Rules of the pages: sign-up, login, logout, and limits for strangers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME, Visitor
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.pages.login import local_path

LOGON = "/manage/authentication/logon"


def test_a_new_console_shows_the_sign_up_form(visitor: Visitor) -> None:
    """A new Console shows the sign-up form."""
    answer = visitor.get("/login")

    assert answer.status_code == 303
    assert answer.location == "/signup"


def test_signing_up_logs_the_administrator_in(visitor: Visitor) -> None:
    """After sign-up, the pages are open at once."""
    answer = visitor.sign_up()

    assert answer.status_code == 303
    assert visitor.get(answer.location).status_code == 200


def test_sign_up_is_closed_once_it_has_happened(admin: Visitor, app: Flask) -> None:
    """The page also refuses a second sign-up."""
    stranger = Visitor(app.test_client())

    answer = stranger.get("/signup")

    assert answer.location == "/login"


def test_one_of_two_concurrent_sign_ups_succeeds(app: Flask) -> None:
    """Concurrent requests cannot create two first administrators."""
    path = "/api/v1/signup"
    bodies = [{"username": f"admin{n}", "password": PASSWORD} for n in range(4)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda b: Visitor(app.test_client()).call(path, b), bodies)
        )

    assert sorted(a.status_code for a in answers) == [200, 400, 400, 400]
    assert {a.get_json()["err"] for a in answers if a.status_code == 400} == {
        "system already initialized"
    }


def test_a_user_logs_in_and_out(admin: Visitor) -> None:
    """Pages need a login again after a logout."""
    admin.send("/logout", form_on=LOGON)
    closed = admin.get(LOGON)
    admin.log_in()
    opened = admin.get(LOGON)

    assert closed.location == f"/login?next={LOGON}"
    assert opened.status_code == 200


def test_a_failed_login_does_not_say_why(admin: Visitor, app: Flask) -> None:
    """An unknown user and a wrong password get the same answer."""
    stranger = Visitor(app.test_client())

    unknown = stranger.log_in("nobody", PASSWORD)
    wrong = stranger.log_in(USERNAME, "not the password")

    assert unknown.status_code == wrong.status_code == 401
    assert _message(unknown.text) == _message(wrong.text)
    assert _message(wrong.text) == "The username or the password is not right."


def _message(page: str) -> str:
    return page.split('role="alert">')[1].split("<")[0]


def test_after_five_failures_the_next_login_waits(admin: Visitor, app: Flask) -> None:
    """The sixth attempt is refused for a while, even with the right password."""
    stranger = Visitor(app.test_client())
    for _ in range(5):
        stranger.log_in(password="wrong password")
    failures = storage_of(app).database()["login_failures"]
    later = datetime.now(UTC) + timedelta(seconds=20)  # this machine may be slow
    changed = failures.update_one({"count": 5}, {"$set": {"until": later}})

    answer = stranger.log_in()

    assert changed.modified_count == 1
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    assert "Too many failed logins; try again in" in answer.text


def test_failures_elsewhere_do_not_keep_the_owner_out(
    admin: Visitor, app: Flask
) -> None:
    """Failures from one address do not slow down clients at another."""
    stranger = Visitor(app.test_client(), "198.51.100.9")
    for _ in range(6):
        stranger.log_in(password="wrong password")

    owner = Visitor(app.test_client(), "192.0.2.8")

    assert owner.log_in().status_code == 303


def test_concurrent_guesses_are_all_counted(admin: Visitor, app: Flask) -> None:
    """Concurrent attempts get no more guesses than sequential ones."""
    sent = {"username": USERNAME, "password": "wrong password"}

    def guess(_: int) -> int:
        guesser = Visitor(app.test_client())
        return guesser.call("/api/v1/authenticate", sent).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(guess, range(16)))

    assert 1 <= codes.count(401) <= 9  # 5, and one after each of the first waits
    assert codes.count(401) + codes.count(429) == 16


def test_a_form_without_its_token_is_refused(admin: Visitor) -> None:
    """Another site cannot make a browser send our forms."""
    answer = admin.client.post(LOGON, data={"minutes": "5"}, base_url=HTTPS)

    assert answer.status_code == 400
    assert "out of date" in answer.text


def test_strong_passwords_can_be_required(admin: Visitor) -> None:
    """With the setting, a password is refused that the default rule accepts."""
    admin.send(LOGON, minutes="30", strongPassword="on")
    weak = "onlylowercase"

    answer = admin.send("/profile/password", old=PASSWORD, new=weak, repeated=weak)

    assert answer.status_code == 400
    assert "needs an upper-case letter" in answer.text


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param("/manage/logs/history?offset=50", True, id="ours"),
        pytest.param("https://elsewhere.test/", False, id="another-site"),
        pytest.param("//elsewhere.test/", False, id="no-scheme"),
        pytest.param("/\\elsewhere.test/", False, id="backslash"),
        pytest.param("/\t/elsewhere.test/", False, id="control-character"),
        pytest.param("javascript:alert(1)", False, id="script"),
        pytest.param("", False, id="nothing"),
        pytest.param("//[", False, id="no-address"),
    ],
)
def test_a_login_redirects_only_to_own_pages(target: str, *, path: bool) -> None:
    """A login never redirects to another site."""
    assert (local_path(target) is not None) is path


def test_a_login_leads_back_to_the_page_asked_for(admin: Visitor) -> None:
    """The login redirects to the page that required it, and never to another site."""
    admin.send("/logout", form_on=LOGON)
    fields = {"username": USERNAME, "password": PASSWORD}
    back = admin.send("/login", next=LOGON, **fields)
    admin.send("/logout", form_on=LOGON)
    away = admin.send("/login", next="https://elsewhere.test/", **fields)

    assert back.location == LOGON
    assert away.location == "/defend/runtime/host"


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/api/v1/_ping"])
def test_every_answer_has_the_security_headers(visitor: Visitor, path: str) -> None:
    """Pages, errors and API answers carry the security headers."""
    headers = visitor.get(path).headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/manage/logs/history",
        "/manage/authentication/users",
        "/manage/authentication/logon",
        "/manage/system/general",
        "/profile/password",
    ],
)
def test_pages_obey_their_own_policy(admin: Visitor, path: str) -> None:
    """No page has an inline script or style, which the policy would refuse."""
    answer = admin.get(path)

    assert answer.status_code == 200
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert " onclick=" not in answer.text


def test_high_availability_is_absent_without_its_plugin(admin: Visitor) -> None:
    """With high availability off there is no tab and no page."""
    page = admin.get("/manage/system/general")

    assert "High Availability" not in page.text
    assert admin.get("/api/v1/high-availability").status_code == 404


def test_a_settings_change_is_recorded_with_its_difference(admin: Visitor) -> None:
    """The history shows the user, and the old and the new value."""
    admin.send(LOGON, minutes="15")

    page = admin.get("/manage/logs/history").text

    assert "Changed the logon settings." in page
    assert "&#34;sessionTimeoutSec&#34;: 900" in page
    assert "&#34;sessionTimeoutSec&#34;: 1800" in page


def test_the_history_has_pages(admin: Visitor) -> None:
    """A long history has several pages."""
    for minutes in range(1, 53):
        admin.send(LOGON, minutes=str(minutes))

    first = admin.get("/manage/logs/history").text
    second = admin.get("/manage/logs/history?offset=50").text

    assert "1-50 of 53" in first
    assert "51-53 of 53" in second


def test_the_bare_address_leads_to_the_first_page(admin: Visitor) -> None:
    """The bare address redirects over the login to the first page."""
    login = admin.get("/")
    first = admin.get(login.location)

    assert login.location == "/login"
    assert first.location == "/defend/runtime/host"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (("admin", "long enough", "not the same"), "The two passwords differ."),
        (("admin", "short", "short"), "The password must have at least 8 characters."),
        (("", "long enough", "long enough"), "Username: string should have at least"),
    ],
)
def test_a_sign_up_form_says_what_is_wrong(
    visitor: Visitor, fields: tuple[str, str, str], sentence: str
) -> None:
    """A refused sign-up gives the reason, creates no account and can be repeated."""
    name, password, again = fields
    answer = visitor.send("/signup", username=name, password=password, repeated=again)

    assert answer.status_code == 400
    assert sentence in answer.text
    assert visitor.sign_up().status_code == 303


@pytest.mark.parametrize(
    "minutes", ["", "0", "71581", "ten", "-5", "1.5", "\uff19", "0000301"]
)
def test_an_impossible_timeout_is_refused(admin: Visitor, minutes: str) -> None:
    """The page says which timeouts are valid, and stores nothing."""
    answer = admin.send(LOGON, minutes=minutes)

    assert answer.status_code == 400
    assert "in whole minutes, from 1 to 71580" in answer.text
    assert 'value="30"' in answer.text


def test_an_internal_error_is_shown_without_details(
    app: Flask, visitor: Visitor
) -> None:
    """An unexpected error is logged, and shown as one plain sentence."""

    def fail() -> str:
        raise ZeroDivisionError("a secret detail")

    app.view_functions["login.home"] = fail

    answer = visitor.get("/")

    assert answer.status_code == 500
    assert "The Console could not answer this request" in answer.text
    assert "secret detail" not in answer.text
