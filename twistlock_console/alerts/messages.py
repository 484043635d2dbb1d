"""Encode an alert as JSON for a webhook and as a line for syslog. Pure."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime

from twistlock_console.alerts.rules import AlertState, Notice

TAG = "Twistlock-Console"
DAEMON = 3 << 3
WARNING, NOTICE = 4, 5
#: The length that every syslog server accepts (RFC 5424, section 6.1).
MAX_LINE_BYTES = 2048
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@dataclass(frozen=True, slots=True)
class Sender:
    """The node that sends an alert: its address, its name, its process id."""

    node: str
    name: str
    pid: int


def to_json(notice: Notice, time: datetime, sender: Sender) -> bytes:
    """Return the body of the request to the webhook."""
    return json.dumps(
        {
            "id": notice.id,
            "time": _iso(time),
            "kind": notice.problem.kind,
            "state": notice.state,
            "subject": notice.problem.subject,
            "message": notice.problem.sentence,
            "console": sender.name,
            "node": sender.node,
        }
    ).encode()


def sign(secret: bytes, body: bytes, unix_time: int) -> str:
    """Return the signature header of *body* and the time (HMAC-SHA256).

    The receiver computes the same with the shared secret and compares.
    """
    signed = b"%d.%s" % (unix_time, body)
    return f"t={unix_time},v1={hmac.digest(secret, signed, hashlib.sha256).hex()}"


def to_line(notice: Notice, time: datetime, sender: Sender) -> str:
    """Return the alert as one line of names and quoted values (logfmt)."""
    fields = {
        "time": _iso(time),
        "type": "alert",
        "log_type": notice.problem.kind,
        "state": notice.state,
        "subject": notice.problem.subject,
        "message": notice.problem.sentence,
        "console": sender.name,
        "node": sender.node,
        "id": notice.id,
    }
    # JSON quotes as logfmt does, and escapes line breaks.
    return " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())


def to_syslog_frame(form: str, notice: Notice, time: datetime, sender: Sender) -> bytes:
    """Return *notice* as a frame of RFC 5424 or RFC 3164, without a newline."""
    grave = WARNING if notice.state is not AlertState.RECOVERED else NOTICE
    line = to_line(notice, time, sender)
    if form == "rfc5424":
        head = f"<{DAEMON + grave}>1 {_iso(time)} {sender.node} {TAG} {sender.pid}"
        return f"{head} {notice.problem.kind} - {line}".encode()[:MAX_LINE_BYTES]
    stamp = (
        f"{_MONTHS[3 * time.month - 3 : 3 * time.month]} {time.day:2} {time:%H:%M:%S}"
    )
    head = f"<{DAEMON + grave}>{stamp} {sender.node} {TAG}[{sender.pid}]:"
    return f"{head} {line}".encode()[:MAX_LINE_BYTES]


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
