"""The second management port shows pages only; the API is on the first.

A load balancer may ask either port whether it serves.
"""

import json
from collections.abc import Iterable
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from twistlock_console.settings import Settings

PING = "/api/v1/_ping"
# Answered by the database.
INITIALIZED = "/api/v1/settings/initialized"
#: Where passwords are checked of clients that did not log in yet.
LOGIN_PATHS = frozenset({"/login", "/signup", "/api/v1/authenticate", "/api/v1/signup"})


class PagesPort:
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
    """Say whether a request is for the API; the load balancer's question is not."""
    path = str(environ.get("PATH_INFO", ""))
    return not is_ping(path) and (path == "/api" or path.startswith("/api/"))


def is_login(method: str, path: str) -> bool:
    """Say whether a request has a password checked, however its path is written."""
    return method == "POST" and f"/{unquote(path).strip('/')}" in LOGIN_PATHS


def is_ping(path: str) -> bool:
    """Say whether *path* is what a load balancer asks for, with a slash or without."""
    return path in (PING, PING + "/")
