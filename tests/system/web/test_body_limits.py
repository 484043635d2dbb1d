"""How large a body may be, and that what is refused by its head needs no body."""

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
    """Send a head as the server does, before the body was received."""

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
def test_open_calls_take_little(
    ask: Ask, admin: Visitor, path: str, length: int | None, status: int
) -> None:
    """Nothing of a large body is read, nor of one whose length is not known."""
    kind = "application/x-www-form-urlencoded" if path is LOGIN else "application/json"

    assert ask(path, length, **{"Content-Type": kind})[0] == status


@pytest.mark.parametrize("length", [LARGE, HUGE, None])
def test_who_is_not_known_is_refused_by_the_head(
    ask: Ask, admin: Visitor, length: int | None
) -> None:
    """Also where a body of that size would be taken from an account."""
    kind = {"Content-Type": "application/json"}

    assert ask(USERS, length, **kind)[0] == 401
    assert ask(USERS, length, **kind, Authorization=basic(password="wrong"))[0] == 401
    assert ask(UPLOAD, length, Authorization="Bearer nonsense")[0] == 401


def test_an_account_may_send_more(ask: Ask, admin: Visitor) -> None:
    """A megabyte, of known length or not; a backup as large as there is room."""
    kind = {"Content-Type": "application/json", "Authorization": basic()}
    for path, length in ((USERS, LARGE), (USERS, None), (UPLOAD, HUGE), (UPLOAD, None)):
        with pytest.raises(BodyRequired):
            ask(path, length, **kind)

    assert ask(USERS, HUGE, **kind)[0] == 413


def test_a_session_may_send_more_until_it_ends(ask: Ask, admin: Visitor) -> None:
    """The pages read a form before their guards; what has ended counts as nobody."""
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
