"""Rules of the size of bodies; a request refused by its headers needs no body."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.web.web_visitor import HTTPS, Visitor, basic
from twistlock_console.servers.management.request import BodyRequired, PendingBody

Ask = Callable[..., tuple[int, str]]
LARGE, HUGE = 70_000, 5_000_000
UPLOAD, USERS, LOGIN = "/api/v1/backups/a.tar.gz", "/api/v1/users", "/login"


@pytest.fixture
def ask(app: Flask) -> Ask:
    """Return a function that sends headers, as the server does before the body."""

    def ask(
        path: str, length: int | None, cookie: str = "", **headers: str
    ) -> tuple[int, str]:
        if cookie:
            headers["Cookie"] = cookie
        builder = EnvironBuilder(path, HTTPS, method="POST", headers=headers)
        environ: dict[str, Any] = builder.get_environ()
        environ["wsgi.input"] = PendingBody()
        environ["wsgi.input_terminated"] = True
        if length is None:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
            environ.pop("CONTENT_LENGTH", None)
        else:
            environ["CONTENT_LENGTH"] = str(length)
        body, status, _ = run_wsgi_app(app, environ)
        return int(status.split()[0]), b"".join(body).decode()

    return ask


@pytest.mark.parametrize("path", ["/api/v1/authenticate", "/api/v1/signup", LOGIN])
@pytest.mark.parametrize(("length", "status"), [(LARGE, 413), (None, 411)])
def test_calls_without_login_have_a_small_limit(
    ask: Ask, admin: Visitor, path: str, length: int | None, status: int
) -> None:
    """No part of a large body is read, nor of one without a length."""
    kind = "application/x-www-form-urlencoded" if path is LOGIN else "application/json"

    assert ask(path, length, **{"Content-Type": kind})[0] == status


@pytest.mark.parametrize("length", [LARGE, HUGE, None])
def test_an_unknown_client_is_refused_by_its_headers(
    ask: Ask, admin: Visitor, length: int | None
) -> None:
    """This holds also for a size that an account may send."""
    kind = {"Content-Type": "application/json"}

    assert ask(USERS, length, **kind)[0] == 401
    assert ask(USERS, length, **kind, Authorization=basic(password="wrong"))[0] == 401
    assert ask(UPLOAD, length, Authorization="Bearer nonsense")[0] == 401


def test_an_account_may_send_more(ask: Ask, admin: Visitor) -> None:
    """It may send a megabyte, and a backup that fits the free disk space."""
    kind = {"Content-Type": "application/json", "Authorization": basic()}
    for path, length in ((USERS, LARGE), (USERS, None), (UPLOAD, HUGE), (UPLOAD, None)):
        with pytest.raises(BodyRequired):
            ask(path, length, **kind)

    assert ask(USERS, HUGE, **kind)[0] == 413


def test_a_session_may_send_more_until_it_ends(ask: Ask, admin: Visitor) -> None:
    """Pages read a form before their guards; an ended session has the small limit."""
    found = admin.client.get_cookie("__Host-session", domain="console.test")
    assert found is not None
    cookie = f"__Host-session={found.value}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    form = "/manage/system/backups/upload"
    with pytest.raises(BodyRequired):
        ask("/manage/authentication/users/add", LARGE, cookie, **kind)
    with pytest.raises(BodyRequired):
        ask(form, HUGE, cookie, **kind)
    admin.send("/logout", form_on="/profile/password")

    assert ask("/manage/authentication/users/add", LARGE, cookie, **kind)[0] == 413
    assert ask(form, HUGE, cookie, **kind)[0] == 413
