"""Rules of the sessions of pages: cookie, timeout and end."""

from flask import Flask
from flask.testing import FlaskClient

from tests.web.web_visitor import HTTPS, PASSWORD, Visitor
from twistlock_console.accounts.sessions import Session
from twistlock_console.web.security.sessions import SESSION_COOKIE_KEY, now

LOGON = "/manage/authentication/logon"


def test_a_copied_cookie_ends_with_the_logout(admin: Visitor, app: Flask) -> None:
    """A logout ends the session itself, not only the cookie of this browser."""
    cookie = admin.client.get_cookie("__Host-session", domain="console.test")
    assert cookie is not None
    thief = app.test_client()
    thief.set_cookie("__Host-session", cookie.value, domain="console.test")
    before = Visitor(thief).get(LOGON)

    admin.send("/logout", form_on=LOGON)

    assert before.status_code == 200
    assert Visitor(thief).get(LOGON).status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(visitor: Visitor) -> None:
    """The session cookie has every protective attribute of browsers."""
    cookies = visitor.sign_up().headers.getlist("Set-Cookie")
    parts = {
        cookie.partition("=")[0]: {part.strip() for part in cookie.split(";")[1:]}
        for cookie in cookies
    }

    assert set(parts) == {"__Host-session", "__Host-device"}
    assert parts["__Host-session"] == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    assert {"Secure", "HttpOnly", "SameSite=Strict"} < parts["__Host-device"]


def test_logging_in_starts_a_new_session(admin: Visitor, client: FlaskClient) -> None:
    """Nothing of the session before the login is in it afterwards."""
    admin.send("/logout", form_on=LOGON)
    with client.session_transaction(base_url=HTTPS) as session:
        session["planted"] = "by someone else"
    admin.log_in()

    with client.session_transaction(base_url=HTTPS) as session:
        assert "planted" not in session


def test_the_inactivity_timeout_ends_a_session(
    admin: Visitor, client: FlaskClient
) -> None:
    """A changed setting applies to open sessions."""
    admin.send(LOGON, minutes="10")
    _grow_older(client, 599)
    young = admin.get(LOGON)
    _grow_older(client, 600)

    assert young.status_code == 200
    assert admin.get(LOGON).status_code == 303


def test_activity_renews_a_session_and_a_refresh_does_not(
    admin: Visitor, client: FlaskClient
) -> None:
    """An open page that refreshes itself does not renew its session."""
    _grow_older(client, 1000)
    admin.get(LOGON, **{"HX-Request": "true"})
    left = _issued(client)
    admin.get(LOGON)

    assert left <= now() - 1000
    assert _issued(client) >= now() - 5


def test_a_refresh_without_a_session_reloads_the_page(visitor: Visitor) -> None:
    """A refresh after the end of the session loads the login page."""
    answer = visitor.get(LOGON, **{"HX-Request": "true"})

    assert answer.status_code == 401
    assert answer.headers["HX-Refresh"] == "true"


def _grow_older(client: FlaskClient, seconds: int) -> None:
    with client.session_transaction(base_url=HTTPS) as session:
        part = session[SESSION_COOKIE_KEY]
        session[SESSION_COOKIE_KEY] = [*part[:3], now() - seconds]


def _issued(client: FlaskClient) -> int:
    with client.session_transaction(base_url=HTTPS) as session:
        return Session(*session[SESSION_COOKIE_KEY]).issued


def test_a_new_password_ends_the_other_sessions(admin: Visitor, app: Flask) -> None:
    """All sessions of the old password end."""
    other = Visitor(app.test_client())
    other.log_in()
    new = "another long phrase"
    admin.send("/profile/password", old=PASSWORD, new=new, repeated=new)

    assert admin.get(LOGON).status_code == 200
    assert other.get(LOGON).status_code == 303
    assert other.log_in(password=new).status_code == 303


def test_a_user_can_log_out_everywhere(admin: Visitor, app: Flask) -> None:
    """One button ends all sessions and tokens of an account."""
    other = Visitor(app.test_client())
    token = other.token()
    admin.send("/profile/end-sessions", form_on="/profile/password")

    headers = {"Authorization": f"Bearer {token}"}
    assert admin.get(LOGON).status_code == 303
    assert other.get("/api/v1/users", **headers).status_code == 401
