"""A WSGI application for tests of the server around it."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from twistlock_console.servers.management.port_routing import INITIALIZED
from twistlock_console.settings import Settings


def create(_settings: Settings) -> WSGIApplication:
    """Make the application."""
    return answer


def slow(_settings: Settings) -> WSGIApplication:
    """Take long to be made."""
    time.sleep(4)
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
    """Answer at once, after ``/sleep/N`` s, or with pieces for ever."""
    path = environ["PATH_INFO"]
    if path.startswith("/sleep/"):
        time.sleep(float(path.removeprefix("/sleep/")))
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces()
    body = f"{os.getpid()}".encode()
    if path == "/main":
        body = str(getattr(sys.modules["__main__"], "__file__", None)).encode()
    if path == "/length":
        body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def pieces() -> Iterator[bytes]:
    """Give a piece every 10 ms."""
    while True:
        yield b"piece\n"
        time.sleep(0.01)
