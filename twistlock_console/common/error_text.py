"""Describe an error of Python, urllib3 or MongoDB's driver in plain words.

The text of such an exception is written for programmers: it names classes, objects
and addresses in memory, and sometimes what must stay secret. No page, answer, alert
or history entry shows it; the log has it.
"""

import logging
import os
import socket
import ssl
from http.client import HTTPException

from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)
from urllib3 import exceptions as urllib3_errors

from twistlock_console.common.errors import ConsoleError

log = logging.getLogger(__name__)
UNEXPECTED = "an error that was not foreseen; the log of this node has it"
NO_TLS = "no TLS connection could be made"
TIMED_OUT = "no answer came in time"
_HTTP: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (urllib3_errors.NameResolutionError, "its name is not known"),
    (urllib3_errors.TimeoutError, TIMED_OUT),
    ((urllib3_errors.LocationValueError, UnicodeError), "its address cannot be used"),
    (urllib3_errors.SSLError, NO_TLS),
    (Exception, "the answer cannot be understood"),
)
_SYSTEM: tuple[tuple[type[OSError], str], ...] = (
    (ssl.SSLError, NO_TLS),
    (socket.gaierror, "its name cannot be looked up now"),
    (TimeoutError, TIMED_OUT),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionError, "it ended the connection"),
)
_UNKNOWN_NAMES = frozenset(
    {socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY, socket.EAI_FAIL}
)


def describe_error(error: BaseException) -> str:
    """Return a description of *error* for an operator, without a full stop.

    Log the details of an error that has no description of its own.
    """
    match error:
        case ConsoleError():
            return str(error)
        case PyMongoError():
            return _describe_database_error(error)
        case urllib3_errors.HTTPError() | HTTPException() | UnicodeError():
            return _describe_http_error(error)
        case OSError():
            return _describe_system_error(error)
        case EOFError():
            return "it ended before it was done"
        case _:
            return _log_details(UNEXPECTED, error)


def _log_details(sentence: str, error: BaseException) -> str:
    log.error("%s", sentence, exc_info=error)
    return sentence


def _describe_database_error(error: PyMongoError) -> str:
    match error:
        case DuplicateKeyError() | BulkWriteError():
            sentence = "the database refused to store it; the log of this node says why"
            return _log_details(sentence, error)
        case OperationFailure() if not error.timeout:
            details = error.details if isinstance(error.details, dict) else {}
            text = str(details.get("errmsg") or f"error {error.code}")
            return f"the database refused it: {' '.join(text.split())[:300]}"
        case NotPrimaryError():
            return "the database of this node is not the primary"
        case _:
            return "the database does not answer"


def _describe_http_error(error: Exception) -> str:
    cause = _system_cause(error)
    if cause is not None:
        return _describe_system_error(cause)
    return next(words for kind, words in _HTTP if isinstance(error, kind))


def _system_cause(error: BaseException | None) -> OSError | None:
    """Return the error of the operating system that *error* comes from."""
    for _ in range(10):
        if error is None or isinstance(error, OSError):
            return error
        reason = next((a for a in error.args if isinstance(a, BaseException)), None)
        error = error.__cause__ or reason
    return None


def _describe_system_error(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror) and error.errno in _UNKNOWN_NAMES:
        return "its name is not known"
    for kind, words in _SYSTEM:
        if isinstance(error, kind):
            return words
    if not error.errno:
        return _log_details(UNEXPECTED, error)
    words = os.strerror(error.errno)
    return words[:1].lower() + words[1:]
