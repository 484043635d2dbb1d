"""The messages of Defenders and of Consoles: texts in, values or ProtocolError out."""

from datetime import UTC, datetime

from tests.fuzz.parsers import Parser, allowed, text_of
from twistlock_console.defenders.event_store import encode_documents
from twistlock_console.protocol import (
    UNNUMBERED,
    Acknowledged,
    CertificateRenewed,
    ComplianceEvent,
    CompliancePart,
    ComplianceResult,
    ConsoleHello,
    DefenderHello,
    DroppedEvent,
    Event,
    Events,
    Facts,
    FactsChanged,
    FileEvent,
    FilePart,
    FromConsole,
    FromDefender,
    Goodbye,
    HostRule,
    Ping,
    PolicyPushed,
    Pong,
    ProcessEvent,
    ProcessPart,
    ProtocolError,
    RenewalRequested,
    Scan,
    TroubleEvent,
    WatchedPath,
    check_protocol,
    decode_event,
    decode_from_console,
    decode_from_defender,
    decode_rule,
    encode,
    encode_event,
    encode_events,
    encode_rule,
    encode_unnumbered,
    hash_rule,
    rule_for,
)
from twistlock_defender.files.rules import Watched
from twistlock_defender.processes.rules import Denied, Process

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULE = HostRule(
    "servers",
    hosts=("web-*", "db[0-9]"),
    notes="for all",
    processes=ProcessPart(("nc", "/srv/*"), "prevent"),
    files=FilePart((WatchedPath("/etc", True),), ("*.swp", "/etc/[a-c]*")),
    compliance=CompliancePart(("ssh-tries",), 12),
    modified=NOON,
    owner="admin",
)
EVENTS: tuple[Event, ...] = (
    ProcessEvent(1, NOON, "r", "alert", 7, "/srv/x", "x", "x -y", "root", "alerted"),
    FileEvent(2, NOON, "r", "alert", "/etc/passwd", "modified", "a", "b", "0644", "0"),
    ComplianceEvent(
        3, NOON, "r", (ComplianceResult("ssh-tries", "SSH", "high", False, "no"),)
    ),
    DroppedEvent(4, NOON, 2, 1, 2),
    TroubleEvent(5, NOON, "no permission"),
)
FROM_DEFENDER: tuple[FromDefender, ...] = (
    DefenderHello("web-1", "26.11.0", facts=Facts("Debian", cpu_count=2)),
    Events(EVENTS),
    FactsChanged(Facts(memory_gb=1.5)),
    RenewalRequested("-----BEGIN CERTIFICATE REQUEST-----"),
    Ping(),
)
FROM_CONSOLE: tuple[FromConsole, ...] = (
    ConsoleHello(7, "26.11.0"),
    PolicyPushed(3, hash_rule(RULE), RULE),
    PolicyPushed(3, hash_rule(None), None),
    Acknowledged(5),
    CertificateRenewed("-----BEGIN CERTIFICATE-----"),
    Scan(),
    Goodbye(300, 200),
    Pong(),
)


def check_from_defender(data: bytes) -> None:
    """Read a message as the Console does, and make of it what is stored."""
    with allowed(ProtocolError):
        message = decode_from_defender(text_of(data))
        assert decode_from_defender(encode(message)) == message
        match message:
            case Events(events):
                _check_events(events)
            case DefenderHello():
                check_protocol(message)
    with allowed(ProtocolError):
        decode_from_defender(data)


def _check_events(events: tuple[Event, ...]) -> None:
    assert len(encode_documents("web-1", events)) == len(events)
    stored = [(event.number, encode_unnumbered(event)) for event in events]
    assert decode_from_defender(encode_events(stored)) == Events(events)


def check_from_console(data: bytes) -> None:
    """Read a message as a Defender does, and obey the rule in it."""
    with allowed(ProtocolError):
        message = decode_from_console(text_of(data))
        assert decode_from_console(encode(message)) == message
        match message:
            case ConsoleHello():
                check_protocol(message)
            case PolicyPushed(rule=HostRule() as rule):
                _check_enforced(rule)


def check_event(data: bytes) -> None:
    """Read an event of an outbox."""
    with allowed(ProtocolError):
        event = decode_event(data)
        assert decode_event(encode_event(event)) == event
        assert f'"number":{UNNUMBERED},' in encode_unnumbered(event)


def check_rule(data: bytes) -> None:
    """Read the rule that a Defender keeps, and enforce it."""
    with allowed(ProtocolError):
        rule = decode_rule(data)
        assert decode_rule(encode_rule(rule)) == rule
        assert hash_rule(decode_rule(encode_rule(rule))) == hash_rule(rule)
        _check_enforced(rule)


def _check_enforced(rule: HostRule) -> None:
    rule_for("web-1.example.com", (rule,))
    assert (Process(1, 1, "/bin/x", "x", "/bin/x") in Denied(rule.processes)) in (0, 1)
    assert ("/etc/passwd" in Watched(rule.files, "/var/lib/x")) in (False, True)


def _texts(messages: tuple[FromConsole | FromDefender, ...]) -> tuple[bytes, ...]:
    return tuple(encode(message).encode() for message in messages)


ODD_KIND = b'{"type":"\\r\\u2028"}'
PARSERS = (
    Parser(
        "from a Defender",
        check_from_defender,
        (*_texts(FROM_DEFENDER), ODD_KIND),
        is_json=True,
    ),
    Parser("from a Console", check_from_console, _texts(FROM_CONSOLE), is_json=True),
    Parser(
        "event",
        check_event,
        tuple(encode_event(event).encode() for event in EVENTS),
        is_json=True,
    ),
    Parser("rule", check_rule, (encode_rule(RULE).encode(),), is_json=True),
)
