"""Events as they stand in messages, in an outbox and in the database."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.protocol import (
    ComplianceEvent,
    ComplianceResult,
    DroppedEvent,
    Event,
    Events,
    FileEvent,
    ProcessEvent,
    ProtocolError,
    TroubleEvent,
    decode_event,
    decode_from_defender,
    encode_event,
    encode_events,
    encode_unnumbered,
)
from twistlock_console.protocol.findings import event_members, is_sound_event

NUMBER = st.integers(1, 2**63 - 1)
TIME = st.datetimes(
    datetime(2000, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC)
)
WORD = st.text(max_size=255)
EFFECT = st.sampled_from(["alert", "prevent"])
RESULT = st.builds(
    ComplianceResult,
    st.text(min_size=1, max_size=255),
    st.text(min_size=1, max_size=255),
    st.sampled_from(["low", "medium", "high", "critical"]),
    st.booleans(),
)
EVENT = (
    st.builds(
        ProcessEvent, NUMBER, TIME, WORD, EFFECT, NUMBER, WORD, WORD, WORD, WORD, WORD
    )
    | st.builds(
        FileEvent,
        number=NUMBER,
        time=TIME,
        rule=WORD,
        effect=EFFECT,
        path=st.text(min_size=1),
        change=st.sampled_from(["created", "moved"]),
        hash_after=st.none() | WORD,
    )
    | st.builds(
        ComplianceEvent, NUMBER, TIME, WORD, st.lists(RESULT, max_size=3).map(tuple)
    )
    | st.builds(DroppedEvent, NUMBER, TIME, NUMBER, NUMBER, NUMBER)
    | st.builds(TroubleEvent, NUMBER, TIME, WORD)
)
PROCESS = {
    "kind": "process",
    "number": 1,
    "time": "2026-11-24T12:00:00.123Z",
    "rule": "default",
    "effect": "prevent",
    "pid": 12,
    "path": "/usr/bin/nc",
    "name": "nc",
    "command": "nc -l",
    "user": "root",
    "outcome": "ended",
}


@given(EVENT)
def test_what_is_written_can_be_read(event: Event) -> None:
    """Encoding and decoding are inverse."""
    assert decode_event(encode_event(event)) == event


def test_members_are_named_as_on_the_wire_and_times_are_times() -> None:
    """So a document in the database reads like the message it came in."""
    event = decode_event(json.dumps(PROCESS))

    noon = datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(milliseconds=123)
    assert event_members(event) == PROCESS | {"time": noon}
    changed = FileEvent(1, noon, "web", "alert", "/etc/passwd", "modified", "a", "b")
    assert {"hashBefore": "a", "hashAfter": "b"}.items() <= event_members(
        changed
    ).items()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"number": 0}, id="number-zero"),
        pytest.param({"number": 2**63}, id="number-too-large"),
        pytest.param({"time": "2026-11-24T12:00:00"}, id="time-without-zone"),
        pytest.param({"time": "0001-01-01T00:00:00+14:00"}, id="time-out-of-range"),
        pytest.param({"name": "\ud800"}, id="half-a-character"),
        pytest.param({"command": "x" * 1025}, id="command-too-long"),
        pytest.param({"effect": "block"}, id="unknown-effect"),
        pytest.param({"kind": "network"}, id="unknown-kind"),
    ],
)
def test_what_is_beyond_its_limits_is_refused(change: dict[str, object]) -> None:
    """The place of the mistake is told."""
    with pytest.raises(ProtocolError, match=f"{next(iter(change))}|hex escape"):
        decode_event(json.dumps(PROCESS | change))


def test_events_of_an_outbox_make_a_message() -> None:
    """Each gets its number; nothing else of it changes."""
    event = TroubleEvent(7, datetime(2026, 11, 1, tzinfo=UTC), "no rights", "web")

    body = encode_unnumbered(event)
    message = decode_from_defender(encode_events([(7, body), (9, body)]))

    assert decode_event(body.replace('"number":0', '"number":7')) == event
    assert message == Events((event, replace(event, number=9)))


def test_a_stored_event_is_sound_when_a_console_can_read_it() -> None:
    """The number comes from the outbox, and counts from 1."""
    event = TroubleEvent(7, datetime(2026, 11, 1, tzinfo=UTC), "no rights")
    body = encode_unnumbered(event)

    assert is_sound_event(1, body)
    assert not is_sound_event(0, body)
    assert not is_sound_event(1, "{}")
    assert not is_sound_event(1, body[:-1])
