"""Login attempts: the credentials that a request sends, and its browser.

A browser that logged in before has a device cookie. The cookie grants no access: it
only exempts the browser's own user from the throttle that failures of others cause.
It is signed with the cluster's key, so it stays valid after a failover.
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
#: Number of accounts for which one browser is remembered.
MAX_DEVICE_ACCOUNTS = 4

Name = Annotated[str, Field(min_length=1, max_length=256)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]


class LoginCredentials(Body):
    """A username and a password."""

    username: Name
    password: Password


def from_request(username: str, password: str) -> Attempt:
    """Return the login attempt that this request makes."""
    address = request.remote_addr or "unknown"
    device = _known_device(username)
    return Attempt(username, password, address, request.path, device)


def password_cache() -> PasswordCache:
    """Return the application's one cache of verified passwords."""
    return cast(PasswordCache, current_app.extensions["password_cache"])


def remember_device(response: Response, username: str) -> None:
    """Set the cookie that marks this browser as a known device of *username*."""
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
    """Return the device name of a browser that *username* used before, else ""."""
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
