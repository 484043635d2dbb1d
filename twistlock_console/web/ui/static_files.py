"""Static files: packed, and kept by browsers for as long as they stay the same.

Only they are packed. A page carries a secret beside text that a visitor may choose, and
its packed length would tell of the secret (BREACH).
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, request, url_for

FOLDER = Path(__file__).parents[1] / "static"
PACKED = {"text/css", "text/javascript", "image/svg+xml"}
ONE_YEAR = 31_536_000
FOUND = {200, 206, 304}


def init_app(app: Flask) -> None:
    """Pack static files, and let templates name them."""
    app.jinja_env.globals["asset"] = asset
    app.after_request(_send)


def asset(name: str) -> str:
    """Return a static file's address; other content gets another address."""
    return url_for("static", filename=name, v=_mark(name))


@cache
def _mark(name: str) -> str:
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


@cache
def _packed(name: str) -> bytes:
    return gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)


def _send(response: Response) -> Response:
    name = (request.view_args or {}).get("filename", "")
    # What was not found may name any file of this host.
    given = request.endpoint == "static" and response.status_code in FOUND
    if not given or not (FOLDER / name).is_file():
        return response
    if request.args.get("v") == _mark(name):
        kept = f"public, max-age={ONE_YEAR}, immutable"
        response.headers["Cache-Control"] = kept
    if response.mimetype in PACKED:
        response.vary.add("Accept-Encoding")
        if response.status_code == 200 and request.accept_encodings["gzip"]:
            _pack(response, _packed(name))
    return response


def _pack(response: Response, content: bytes) -> None:
    if close := getattr(response.response, "close", None):
        close()
    response.direct_passthrough = False
    response.set_data(content)
    response.content_encoding = "gzip"
    if tag := response.get_etag()[0]:
        response.set_etag(tag, weak=True)
