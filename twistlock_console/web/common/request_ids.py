"""A name for each request, in the answer and in every line that is logged for it."""

import secrets

from flask import Flask, Response, g


def init_app(app: Flask) -> None:
    """Name the requests; must come before what may log."""
    app.before_request(_name)
    app.after_request(_tell)


def _name() -> None:
    g.request_id = secrets.token_hex(8)


def _tell(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-Id"] = g.request_id
    return response
