"""Static files: compressed, and cached by browsers until their content changes.

Only static files are compressed. A page has a secret beside text that a visitor may
choose, and its compressed length would reveal the secret (BREACH).
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, request, url_for

FOLDER = Path(__file__).parents[1] / "static"
COMPRESSED_TYPES = {"text/css", "text/javascript", "image/svg+xml"}
ONE_YEAR_S = 31_536_000
FOUND_STATUSES = {200, 206, 304}


def init_app(app: Flask) -> None:
    """Compress static files, and make `asset` available to templates."""
    app.jinja_env.globals["asset"] = asset
    app.after_request(_add_caching_and_compression)


def asset(name: str) -> str:
    """Return the address of a static file, which changes with its content."""
    return url_for("static", filename=name, v=_content_version(name))


@cache
def _content_version(name: str) -> str:
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)


def _add_caching_and_compression(response: Response) -> Response:
    name = (request.view_args or {}).get("filename", "")
    # A name that was not found may point to any file of this host.
    is_static = request.endpoint == "static" and response.status_code in FOUND_STATUSES
    if not is_static or not (FOLDER / name).is_file():
        return response
    if request.args.get("v") == _content_version(name):
        kept = f"public, max-age={ONE_YEAR_S}, immutable"
        response.headers["Cache-Control"] = kept
    if response.mimetype in COMPRESSED_TYPES:
        response.vary.add("Accept-Encoding")
        if response.status_code == 200 and request.accept_encodings["gzip"]:
            _set_compressed(response, _compressed(name))
    return response


def _set_compressed(response: Response, content: bytes) -> None:
    if close := getattr(response.response, "close", None):
        close()
    response.direct_passthrough = False
    response.set_data(content)
    response.content_encoding = "gzip"
    if tag := response.get_etag()[0]:
        response.set_etag(tag, weak=True)
