"""Parts of every response: request id, security headers, and times in RFC 3339."""

import secrets
from datetime import UTC, datetime

from flask import Flask, Request, Response, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import Authorization

#: What a browser may do with our pages.
CONTENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)

HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class ConsoleRequest(Request):
    """A request as Flask knows it; credentials that cannot be read count as none."""

    @property
    def authorization(self) -> Authorization | None:
        """Return the credentials of the request, if there are any."""
        try:
            return super().authorization
        except ValueError:
            # Werkzeug decodes HTTP Basic, and expects ASCII.
            return None


class JsonWithTimes(DefaultJSONProvider):
    """Flask's JSON with times in RFC 3339, and with keys in the order given."""

    sort_keys = False

    @staticmethod
    def default(o: object) -> object:
        """Return *o* as a value that JSON has."""
        if isinstance(o, datetime):
            text = o.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z")
        return DefaultJSONProvider.default(o)


def init_app(app: Flask) -> None:
    """Register request ids and headers; call it before any part that may log."""
    app.json = JsonWithTimes(app)
    app.before_request(_set_request_id)
    app.after_request(_add_request_id)
    app.after_request(_add_headers)


def _set_request_id() -> None:
    g.request_id = secrets.token_hex(8)


def _add_request_id(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-Id"] = g.request_id
    return response


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
