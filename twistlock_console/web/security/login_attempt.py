"""A login that a request tries: what it sends, and from which browser.

A browser that logged in before has a cookie that says so, and that opens nothing by
itself. It only keeps the failures of others from slowing down the browser's own user.
It is signed with the cluster's key, so that it holds after a failover too.
"""

import secrets
from typing import Annotated, cast

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from pydantic import Field

from twistlock_console.accounts.login import Attempt
from twistlock_console.accounts.passwords import PasswordCache
from twistlock_console.common.models import Body
from twistlock_console.names import name_key

DEVICE_COOKIE = "__Host-device"
ONE_YEAR_S = 31_536_000
#: So many accounts that one browser is known for.
MAX_DEVICE_ACCOUNTS = 4

Name = Annotated[str, Field(min_length=1, max_length=256)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]


class Credentials(Body):
    """A username and a password."""

    username: Name
    password: Password


def from_request(username: str, password: str) -> Attempt:
    """Return the login that this request tries."""
    address = request.remote_addr or "unknown"
    device = _known_device(username)
    return Attempt(username, password, address, request.path, device)


def password_cache() -> PasswordCache:
    """Return the application's one cache of passwords that were right."""
    return cast(PasswordCache, current_app.extensions["password_cache"])


def remember_device(response: Response, username: str) -> None:
    """Set the cookie with which this browser is known for *username* from now on."""
    known, key = _read_devices(), name_key(username)
    name = known.pop(key, "") or secrets.token_urlsafe(12)
    latest = [*known.items(), (key, name)][-MAX_DEVICE_ACCOUNTS:]
    response.set_cookie(
        DEVICE_COOKIE,
        str(_signer().dumps(latest)),
        max_age=ONE_YEAR_S,
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def _known_device(username: str) -> str:
    """Return the name of a browser that logged in as *username* before, else ""."""
    if request.path.startswith("/api/"):
        return ""
    return _read_devices().get(name_key(username), "")


def _read_devices() -> dict[str, str]:
    try:
        known = dict(_signer().loads(request.cookies.get(DEVICE_COOKIE, "")))
    except BadSignature:
        return {}
    return {name_key(username): name for username, name in known.items()}


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or b"", salt="known device")
