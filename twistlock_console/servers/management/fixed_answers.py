"""Answers without the application: errors, `_ping`, and no API on the pages' port.

The second management port shows pages only; the API is on the first. A load balancer
may ask either port whether it serves.
"""

import html
import json
import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import setup_testing_defaults

from gunicorn.util import http_date

from twistlock_console.settings import Settings

PING = "/api/v1/_ping"
# Answered by the database.
INITIALIZED = "/api/v1/settings/initialized"
#: Where passwords are checked of clients that did not log in yet.
LOGIN_PATHS = frozenset({"/login", "/signup", "/api/v1/authenticate", "/api/v1/signup"})
REQUEST_ID = "X-Request-Id"
PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    "<h1>{title}</h1><p>{sentence}</p></html>"
)


class UiPortMiddleware:
    """Refuses the API where a request came in on the port of the pages."""

    def __init__(self, app: WSGIApplication, settings: Settings) -> None:
        self._app = app
        self._pages_port = str(settings.management_port_ui)
        sentence = f"The API is served on port {settings.management_port_https}."
        self._refusal = json.dumps({"err": sentence}).encode()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        if environ["SERVER_PORT"] != self._pages_port or not is_api(environ):
            return self._app(environ, start_response)
        length = str(len(self._refusal))
        headers = [("Content-Type", "application/json"), ("Content-Length", length)]
        start_response("404 Not Found", headers)
        return [self._refusal]


def is_api(environ: WSGIEnvironment) -> bool:
    """Return whether a request is for the API; a load balancer's `_ping` is not."""
    path = str(environ.get("PATH_INFO", ""))
    return not is_ping(path) and (path == "/api" or path.startswith("/api/"))


def is_login(method: str, path: str) -> bool:
    """Return whether a request is a login, however its path is escaped."""
    return method == "POST" and f"/{unquote(path).strip('/')}" in LOGIN_PATHS


def is_ping(path: str) -> bool:
    """Return whether *path* is that of `_ping`, with a slash or without."""
    return path in (PING, PING + "/")


def error_answer(
    status: HTTPStatus, sentence: str, path: str = "", retry_after_s: int = 0
) -> bytes:
    """Return an answer that says *sentence*, after which the connection closes.

    It is JSON for the API, and where the *path* is not known; a page elsewhere.
    """
    if path and not path.startswith("/api/"):
        kind = "text/html; charset=utf-8"
        text = sentence[:1].upper() + sentence[1:] + "."
        body = PAGE.format(title=status.phrase, sentence=html.escape(text))
    else:
        kind, body = "application/json", json.dumps({"err": sentence}) + "\n"
    headers = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if retry_after_s:
        headers.append(("Retry-After", str(retry_after_s)))
    return _format_answer(
        f"{status.value} {status.phrase}", headers, body.encode(), "close"
    )


class PingAnswer:
    """The answer to `_ping`, recorded once from *app*; raises what *app* raises."""

    def __init__(self, app: WSGIApplication) -> None:
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        environ: WSGIEnvironment = {"PATH_INFO": PING}
        setup_testing_defaults(environ)
        self._body = b"".join(_call_app(app, environ, self._start))

    def answer(self, method: str, path: str, *, close: bool) -> bytes | None:
        """Return the complete answer; None if the request is not a `_ping`."""
        asked = method in ("GET", "HEAD") and is_ping(path)
        if not asked or not self._status.startswith("200"):
            return None
        fresh = [
            (name, secrets.token_hex(8) if name == REQUEST_ID else value)
            for name, value in self._headers
        ]
        body = b"" if method == "HEAD" else self._body
        return _format_answer(
            self._status, fresh, body, "close" if close else "keep-alive"
        )

    def _start(
        self, status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> Callable[[bytes], object]:
        self._status = status
        self._headers = [h for h in headers if h[0].lower() != "content-length"]
        return lambda _: None


def _call_app(
    app: WSGIApplication, environ: WSGIEnvironment, start: StartResponse
) -> Iterable[bytes]:
    answer = app(environ, start)
    try:
        yield from answer
    finally:
        if close := getattr(answer, "close", None):
            close()


def _format_answer(
    status: str, headers: list[tuple[str, str]], body: bytes, connection: str
) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Server: gunicorn", f"Date: {http_date()}"]
    lines.append(f"Connection: {connection}")
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
