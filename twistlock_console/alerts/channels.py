"""The ways out: a webhook over HTTP, a syslog server over a socket."""

import socket
import time
from datetime import datetime
from urllib.parse import urlsplit

import urllib3

from twistlock_console.alerts import messages
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.rules import Notice
from twistlock_console.alerts.settings import Syslog
from twistlock_console.common.errors import Refused

SECONDS = 5.0


def post(url: str, secret: bytes, notice: Notice, at: datetime, sender: Sender) -> None:
    """Post *notice*, signed; raises Refused with what the other side said or did."""
    body = messages.as_json(notice, at, sender)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": messages.TAG,
        "X-Twistlock-Delivery": notice.id,
        "X-Twistlock-Signature": messages.signature(secret, body, int(time.time())),
    }
    patience = urllib3.Timeout(total=SECONDS)
    try:
        with urllib3.PoolManager(retries=False, timeout=patience) as pool:
            answer = pool.request(
                "POST",
                url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            answer.release_conn()
            status = answer.status
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise Refused(f"the webhook does not answer: {_why(error)}") from error
    if not 200 <= status < 300:
        raise Refused(f"the webhook answered with status {status}")


def log_to(to: Syslog, notice: Notice, at: datetime, sender: Sender) -> None:
    """Send *notice* to the syslog server; raises Refused when it cannot be reached."""
    frame = messages.syslog_frame(to.format, notice, at, sender)
    try:
        parts = urlsplit(to.addr)
        match parts.scheme:
            case "unix":
                _to_socket(parts.path, frame)
            case "tcp":
                _over_tcp(parts.hostname or "", parts.port or 514, to.format, frame)
            case _:
                _over_udp(parts.hostname or "", parts.port or 514, frame)
    # ValueError: what cannot be a host's name fails before it is looked up.
    except (OSError, ValueError) as error:
        raise Refused(
            f"the syslog server {to.addr} cannot be reached: {error}"
        ) from error


def _to_socket(path: str, frame: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(SECONDS)
        out.connect(path)
        out.send(frame)


def _over_udp(host: str, port: int, frame: bytes) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, protocol) as out:
        out.sendto(frame, address)


def _over_tcp(host: str, port: int, form: str, frame: bytes) -> None:
    # RFC 6587: the newer format counts its bytes, the older one ends with a line.
    framed = b"%d %s" % (len(frame), frame) if form == "rfc5424" else frame + b"\n"
    with socket.create_connection((host, port), timeout=SECONDS) as out:
        out.sendall(framed)


def _why(error: Exception) -> str:
    return str(error.__cause__ or error)[:200]
