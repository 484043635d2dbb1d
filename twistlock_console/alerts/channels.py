"""Deliver one alert by a channel: a webhook over HTTP, or a syslog server.

A failed delivery raises NotDelivered, with a sentence for people and a detail for the
log.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from twistlock_console.alerts import messages
from twistlock_console.alerts.connection import (
    Deadline,
    NotDelivered,
    open_connection,
    resolve_allowed,
)
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.rules import Notice
from twistlock_console.alerts.settings import Syslog
from twistlock_console.alerts.targets import TargetPolicy
from twistlock_console.common.error_text import describe_error

DELIVERY_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"http": 80, "https": 443}
SYSLOG_PORT = 514


@dataclass(frozen=True, slots=True)
class Alert:
    """A notice to deliver, with the time at which it became due and its sender."""

    notice: Notice
    at: datetime
    sender: Sender


def post_to_webhook(
    url: str, secret: bytes, alert: Alert, policy: TargetPolicy
) -> None:
    """Post *alert* to *url* with a signature. Raises NotDelivered."""
    body = messages.to_json(alert.notice, alert.at, alert.sender)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": messages.TAG,
        "X-Twistlock-Delivery": alert.notice.id,
        "X-Twistlock-Signature": messages.sign(secret, body, int(time.time())),
        "Connection": "close",
    }
    deadline = Deadline(DELIVERY_TIMEOUT_S)
    with _raise_not_delivered(f"the webhook at {host}"):
        endpoints = resolve_allowed(host, port, policy, deadline)
        tls_name = host if parts.scheme == "https" else None
        with open_connection(endpoints, deadline, tls_name) as sock:
            connection = HTTPConnection(host, port)
            connection.sock = sock
            connection.request("POST", _path_of(parts), body, headers)
            status = connection.getresponse().status
    if not 200 <= status < 300:
        raise NotDelivered(f"the webhook at {host} answered with status {status}")


def send_to_syslog(to: Syslog, alert: Alert, policy: TargetPolicy) -> None:
    """Send *alert* to the syslog server *to*. Raises NotDelivered."""
    frame = messages.to_syslog_frame(to.format, alert.notice, alert.at, alert.sender)
    with _raise_not_delivered(f"the syslog server {to.addr}"):
        parts = urlsplit(to.addr)
        if parts.scheme == "unix":
            _send_to_unix_socket(parts.path, frame)
            return
        host, deadline = parts.hostname or "", Deadline(DELIVERY_TIMEOUT_S)
        endpoints = resolve_allowed(host, parts.port or SYSLOG_PORT, policy, deadline)
        if parts.scheme == "udp":
            with socket.socket(endpoints[0].family, socket.SOCK_DGRAM) as out:
                out.sendto(frame, endpoints[0].address)
            return
        with open_connection(endpoints, deadline) as sock:
            sock.sendall(_add_framing(to.format, frame))


def success_sentence(channel: str, url: str, to: Syslog) -> str:
    """Return the sentence that describes a delivery by *channel* without an error."""
    if channel == "webhook":
        return f"the webhook at {urlsplit(url).hostname} accepted it"
    if to.addr.startswith("unix:"):
        return f"syslog: {to.addr} accepted it"
    unconfirmed = "which confirms nothing"
    return f"syslog: it was sent to {to.addr}, {unconfirmed}"


@contextmanager
def _raise_not_delivered(what: str) -> Iterator[None]:
    try:
        yield
    except NotDelivered as error:
        raise NotDelivered(f"{what}: {error}") from error
    # ValueError: an invalid host name fails before it is resolved.
    except (OSError, HTTPException, ValueError) as error:
        raise NotDelivered(
            f"{what} did not accept it: no connection, no response in time, or no "
            "certificate that this node trusts; see the log of this node",
            describe_error(error),
        ) from error


def _path_of(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.path or '/'}{query}"


def _send_to_unix_socket(path: str, frame: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(DELIVERY_TIMEOUT_S)
        out.connect(path)
        out.send(frame)


def _add_framing(form: str, frame: bytes) -> bytes:
    # RFC 6587: octet counting for the newer format, a trailing newline for the older.
    return b"%d %s" % (len(frame), frame) if form == "rfc5424" else frame + b"\n"
