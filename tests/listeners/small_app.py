"""A WSGI application for tests of the server around it."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import repeat
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from twistlock_console.common.request_limits import SERVER_LOAD
from twistlock_console.servers.management.fixed_answers import INITIALIZED
from twistlock_console.settings import Settings

BLOCK = b"x" * 8192
HELD = "/held"
released = threading.Event()
"""Answers what asked for `HELD`; for tests with the server in their own process."""
SLOW_S = 20
"""What `slow` takes to be made."""


def create(_settings: Settings) -> WSGIApplication:
    """Make the application."""
    return answer


def slow(_settings: Settings) -> WSGIApplication:
    """Take long to be made."""
    time.sleep(SLOW_S)
    return answer


def broken(_settings: Settings) -> WSGIApplication:
    """Fail, as pages do that cannot be built."""
    raise ValueError("no templates")


def without_database(_settings: Settings) -> WSGIApplication:
    """Fail where the database is needed."""

    def failing(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != INITIALIZED:
            return answer(environ, start_response)
        start_response("503 Service Unavailable", [])
        return []

    return failing


def hung_database(_settings: Settings) -> WSGIApplication:
    """Wait for ever where the database is needed."""

    def hanging(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] == INITIALIZED:
            threading.Event().wait()
        return answer(environ, start_response)

    return hanging


def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once, after ``/sleep/N`` s, when released, or with pieces for ever."""
    path = environ["PATH_INFO"]
    if path.startswith("/sleep/"):
        time.sleep(float(path.removeprefix("/sleep/")))
    if path == HELD or "HTTP_X_HELD" in environ:
        released.wait()
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces()
    if path.startswith("/large/"):
        count = int(path.removeprefix("/large/"))
        start_response("200 OK", [("Content-Length", str(count * len(BLOCK)))])
        return repeat(BLOCK, count)
    if path == "/failing":
        raise ValueError("this page fails")
    if path == "/guarded" and environ.get("HTTP_AUTHORIZATION") != "good":
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return []
    body = body_of(path, environ)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def body_of(path: str, environ: WSGIEnvironment) -> bytes:
    """Say what *path* asks for: our process id, or something about the request."""
    match path:
        case "/main":
            return str(getattr(sys.modules["__main__"], "__file__", None)).encode()
        case "/length" | "/guarded":
            return str(len(environ["wsgi.input"].read())).encode()
        case "/address":
            return str(environ["REMOTE_ADDR"]).encode()
        case "/load":
            return json.dumps(asdict(environ[SERVER_LOAD])).encode()
        case _:
            return f"{os.getpid()}".encode()


def pieces() -> Iterator[bytes]:
    """Give a piece every 10 ms."""
    while True:
        yield b"piece\n"
        time.sleep(0.01)
