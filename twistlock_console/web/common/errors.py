"""Error responses: one sentence, as JSON under /api/ and as a page elsewhere."""

import logging
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from pymongo.errors import PyMongoError
from werkzeug.exceptions import BadHost, HTTPException
from werkzeug.routing import RequestRedirect

from twistlock_console.accounts.errors import (
    NotAllowed,
    NotLoggedIn,
    TooManyFailures,
    WrongCredentials,
)
from twistlock_console.common.errors import Busy, ConsoleError, NotFound, Refused

log = logging.getLogger(__name__)
STATUS_SENTENCES = {
    404: "there is nothing at this address",
    405: "this address does not accept that method",
    413: "the request is larger than the Console accepts",
}
BAD_HOST = "the Host header of the request names no host"
RETRY_AFTER = "Retry-After"
RETRYABLE_STATUSES = frozenset({429, 503})
DEFAULT_RETRY_AFTER_S = "2"
READ_FAILED = "the database does not answer; try again in a few seconds"
WRITE_UNKNOWN = (
    "the database did not confirm this in time, so it may or may not be stored; "
    "check before you try again"
)
OUT_OF_DATE = "this form is out of date; open the page again and repeat"
NO_COOKIE = (
    "the session cookie of this form did not arrive; open the page again and repeat. "
    "If it happens again, the browser refuses the cookies of this site, or a proxy in "
    "front of the Console removes them"
)
NO_REFERRER = (
    "the Referer header is missing, which shows that a form comes from the Console's "
    "own pages; a proxy in front of the Console or a setting of the browser removes "
    "it. Allow it for this site"
)


def init_app(app: Flask) -> None:
    """Register the handlers that answer each kind of error with one sentence."""
    app.register_error_handler(ConsoleError, _answer_console_error)
    app.register_error_handler(PyMongoError, _answer_database_error)
    app.register_error_handler(CSRFError, _answer_csrf_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected_error)
    app.after_request(_add_retry_after)
    app.after_request(_redirect_without_host)


def error_response(status: int, sentence: str) -> Response:
    """Return *sentence* as JSON for a path under /api/, else as a page."""
    if request.path.startswith("/api/"):
        response = jsonify(err=sentence)
    else:
        title = HTTPStatus(status).phrase
        response = Response(
            render_template("error.html", title=title, sentence=sentence),
            mimetype="text/html",
        )
    response.status_code = status
    return response


def status_and_headers(error: ConsoleError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status for *error*, and the headers that go with it."""
    headers: dict[str, str] = {}
    match error:
        case TooManyFailures():
            status, headers = 429, {RETRY_AFTER: str(error.seconds)}
        case WrongCredentials() | NotLoggedIn():
            # Never "Basic": a browser would ask for the password, keep it, and
            # send it along with requests that other sites start.
            bearer = 'Bearer realm="Twistlock Console"'
            status, headers = 401, {"WWW-Authenticate": bearer}
        case NotAllowed():
            status = 403
        case NotFound():
            status = 404
        case Refused():
            status = 400
        case Busy():
            status, headers = 503, {RETRY_AFTER: str(error.retry_after_s)}
        case _:
            status = 503
    return status, headers


def _answer_console_error(error: ConsoleError) -> ResponseReturnValue:
    status, headers = status_and_headers(error)
    if status == 503:
        level = logging.INFO if isinstance(error, Busy) else logging.ERROR
        log.log(level, "%s %s: %s", request.method, request.path, error)
    response = error_response(status, str(error))
    response.headers.update(headers)
    return response


def _add_retry_after(response: Response) -> Response:
    """Add Retry-After, in seconds, to every answer that asks for another try."""
    if response.status_code in RETRYABLE_STATUSES:
        response.headers.setdefault(RETRY_AFTER, DEFAULT_RETRY_AFTER_S)
    return response


def _redirect_without_host(response: Response) -> Response:
    """Make a redirect to another spelling of the path relative.

    The host in it would be the one that the client named.
    """
    if isinstance(request.routing_exception, RequestRedirect):
        there = urlsplit(request.routing_exception.new_url)
        query = f"?{there.query}" if there.query else ""
        response.location = f"/{there.path.lstrip('/')}{query}"
        response.set_data("")
    return response


def _answer_database_error(error: PyMongoError) -> ResponseReturnValue:
    log.warning("%s %s: the database failed: %s", request.method, request.path, error)
    reading = request.method in {"GET", "HEAD"}
    return error_response(503, READ_FAILED if reading else WRITE_UNKNOWN)


def _answer_csrf_error(error: CSRFError) -> ResponseReturnValue:
    reason = error.description or ""
    log.info("%s: refused a form: %s", request.path, reason)
    sentence = explain_csrf_error(reason, request.host, request.referrer or "")
    return error_response(400, sentence)


def _answer_http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if isinstance(error, BadHost):
        return _answer_bad_host()
    if status < 400:
        return error.get_response(request.environ)
    response = error_response(
        status, STATUS_SENTENCES.get(status) or _error_sentence(error)
    )
    if allowed := error.get_response(request.environ).headers.get("Allow"):
        response.headers["Allow"] = allowed
    return response


def _answer_bad_host() -> Response:
    """Answer in plain text: the links of a page need a valid host."""
    if request.path.startswith("/api/"):
        return error_response(400, BAD_HOST)
    return Response(f"{BAD_HOST}\n", 400, mimetype="text/plain")


def _error_sentence(error: HTTPException) -> str:
    return (error.description or error.name).rstrip(".")


def _answer_unexpected_error(error: Exception) -> ResponseReturnValue:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return error_response(
        500, "the Console could not answer this request; the reason is in its log"
    )


def explain_csrf_error(reason: str, host: str, referrer: str) -> str:
    """Return the sentence that explains why a form was refused, and what to do.

    Args:
        reason: description of Flask-WTF's CSRFError.
        host: host in the Host header, as it arrived.
        referrer: address of the page with the form, as the browser knows it.
    """
    match reason:
        case "The CSRF session token is missing.":
            return NO_COOKIE
        case "The referrer header is missing.":
            return NO_REFERRER
        case "The referrer does not match the host.":
            return _explain_other_host(host, referrer)
        case _:
            return OUT_OF_DATE


def _explain_other_host(host: str, referrer: str) -> str:
    parts = urlsplit(referrer)
    if parts.scheme == "http":
        return (
            f"the browser opened {parts.netloc} with http, and a proxy in front of "
            "the Console forwarded it as https; open the pages with https://"
        )
    return (
        f"the browser opened {parts.netloc}, but the request reached the Console as "
        f"{host}: a proxy in front of it changes the Host header. Make the proxy "
        "forward the header with its port (nginx: proxy_set_header Host $http_host;), "
        f"or open the pages under https://{host}"
    )
