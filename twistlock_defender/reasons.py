"""Why a connection ended or never came about, in words."""

import ssl
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosed, InvalidStatus


def reason_of(error: BaseException) -> str:
    """Say in words what *error* means."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _refused_by_tls(cause)
    match error:
        case ConnectionClosed(rcvd=received) if received is not None:
            return f"it closed the connection: {received.reason or received.code}"
        case ConnectionClosed():
            return "the connection broke"
        case InvalidStatus(response=response):
            return f"it refused us with status {response.status_code}"
        case TimeoutError():
            return "it does not answer"
        case _:
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
