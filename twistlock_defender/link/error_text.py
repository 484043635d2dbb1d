"""Why a connection ended or never came about, in words."""

import ssl
from collections.abc import Iterator
from http.client import HTTPException

from websockets.exceptions import ConnectionClosed, InvalidMessage

SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (
        InvalidMessage,
        "it ended the connection before its first word; our certificate may have "
        "expired or been revoked, or something in between ends TLS",
    ),
    (TimeoutError, "it does not answer"),
    (ConnectionClosed, "the connection broke"),
)


def reason_of(error: BaseException) -> str:
    """Say in words what *error* means."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _refused_by_tls(cause)
    if isinstance(error, ConnectionClosed) and error.rcvd:
        return f"it closed the connection: {error.rcvd.reason or error.rcvd.code}"
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, HTTPException):
        return "its answer cannot be understood"
    return getattr(error, "strerror", None) or str(error)


def _refused_by_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return f"TLS failed: {reason.replace('sslv3 alert', 'it answers')}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
