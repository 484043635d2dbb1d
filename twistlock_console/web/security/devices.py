"""Browsers that logged in before: a cookie says so, and opens nothing by itself.

It only keeps the failures of others from slowing down the browser's own user. It is
signed with the cluster's key, so that it holds after a failover too.
"""

import secrets

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer

from twistlock_console.names import name_key

COOKIE = "__Host-device"
ONE_YEAR = 31_536_000
#: So many accounts that one browser is known for.
MOST = 4


def known_device(username: str) -> str:
    """Give the name of a browser that logged in as *username* before, else ""."""
    if request.path.startswith("/api/"):
        return ""
    return _read().get(name_key(username), "")


def remember_device(response: Response, username: str) -> None:
    """Let this browser be known for *username* from now on."""
    known, key = _read(), name_key(username)
    name = known.pop(key, "") or secrets.token_urlsafe(12)
    latest = [*known.items(), (key, name)][-MOST:]
    response.set_cookie(
        COOKIE,
        str(_signer().dumps(latest)),
        max_age=ONE_YEAR,
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def _read() -> dict[str, str]:
    try:
        known = dict(_signer().loads(request.cookies.get(COOKIE, "")))
    except BadSignature:
        return {}
    return {name_key(username): name for username, name in known.items()}


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or b"", salt="known device")
