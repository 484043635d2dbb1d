"""How long, how many and how much: each limit of what goes over the wire.

A peer that was built from another release keeps to them; they are not to drift.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from pydantic import TypeAdapter

from twistlock_console.protocol import (
    HELLO_TIMEOUT_S,
    MAX_EVENTS,
    MAX_MESSAGE_CHARACTERS,
    RENEWAL_DAYS,
    HostPolicy,
    Pong,
    ProtocolError,
    decode_event,
    decode_from_console,
    decode_from_defender,
    decode_rule,
)

TIME = "2026-11-24T12:00:00Z"
PROCESS = {
    "kind": "process",
    "number": 1,
    "time": TIME,
    "rule": "",
    "effect": "alert",
    "pid": 0,
    "path": "",
    "name": "",
    "command": "",
    "user": "",
    "outcome": "",
}
FILE = {
    "kind": "file",
    "number": 1,
    "time": TIME,
    "rule": "",
    "effect": "alert",
    "path": "/",
    "change": "created",
    "hashBefore": None,
    "hashAfter": None,
    "mode": None,
    "owner": None,
    "process": None,
}
RESULT = {"id": "a", "title": "b", "severity": "low", "passed": True, "detail": ""}
COMPLIANCE = {
    "kind": "compliance",
    "number": 1,
    "time": TIME,
    "rule": "",
    "effect": "alert",
    "results": [RESULT],
}
DROPPED = {
    "kind": "dropped",
    "number": 1,
    "time": TIME,
    "count": 1,
    "first": 1,
    "last": 1,
    "rule": "",
    "effect": "alert",
}
TROUBLE = {
    "kind": "trouble",
    "number": 1,
    "time": TIME,
    "sentence": "",
    "rule": "",
    "effect": "alert",
}
FACTS = {
    "os": "",
    "kernel": "",
    "fqdn": "",
    "cpuCount": 0,
    "memoryGB": 0,
    "totalDiskSpaceGB": 0,
    "freeDiskSpaceGB": 0,
    "packages": 0,
}
DEFENDER_HELLO = {
    "type": "hello",
    "defender": "d",
    "version": "1",
    "protocol": 1,
    "policy": "",
    "facts": FACTS,
}
CONSOLE_HELLO = {
    "type": "hello",
    "epoch": 0,
    "version": "1",
    "protocol": 1,
    "renews": False,
}
POLICY = {"type": "policy", "version": 0, "hash": "", "rule": None}
CERTIFICATE = {"type": "certificate", "certificate": "c"}
RENEWAL = {"type": "renewal", "request": "r"}
GOODBYE = {"type": "goodbye", "retryAfterMs": 0, "spreadMs": 0}
RULE = {
    "name": "a",
    "hosts": ["*"],
    "disabled": False,
    "notes": "",
    "processes": {"denied": ["nc"], "effect": "alert"},
    "files": {
        "paths": [{"path": "/etc", "recursive": False}],
        "exclusions": ["/etc/x"],
        "effect": "alert",
    },
    "compliance": {"checks": ["ssh-tries"], "everyHours": 24},
    "modified": None,
    "owner": "",
}

Document = dict[str, Any]
Place = tuple[str | int, ...]
Decode = Callable[[str], object]
LARGEST_NUMBER = 2**63 - 1


def changed(document: Document, place: Place, value: object) -> str:
    """Return *document* as JSON, with *value* at *place*."""
    copy: Any = deepcopy(document)
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return json.dumps(copy)


def is_taken(decode: Decode, text: str) -> bool:
    """Whether the other side takes *text*."""
    try:
        decode(text)
    except ProtocolError:
        return False
    return True


TEXTS: list[tuple[Decode, Document, Place, int, int]] = [
    *(
        (decode_event, document, (name,), 0, 255)
        for document, names in (
            (PROCESS, ("rule", "name", "user")),
            (FILE, ("rule", "hashBefore", "hashAfter", "mode", "owner")),
            (COMPLIANCE, ("rule",)),
            (DROPPED, ("rule",)),
            (TROUBLE, ("rule",)),
        )
        for name in names
    ),
    (decode_event, PROCESS, ("path",), 0, 4096),
    (decode_event, PROCESS, ("command",), 0, 1024),
    (decode_event, PROCESS, ("outcome",), 0, 1024),
    (decode_event, FILE, ("path",), 1, 4096),
    (decode_event, FILE, ("process",), 0, 1024),
    (decode_event, COMPLIANCE, ("results", 0, "id"), 1, 255),
    (decode_event, COMPLIANCE, ("results", 0, "title"), 1, 255),
    (decode_event, COMPLIANCE, ("results", 0, "detail"), 0, 1024),
    (decode_event, TROUBLE, ("sentence",), 0, 1024),
    (decode_from_defender, DEFENDER_HELLO, ("defender",), 1, 255),
    (decode_from_defender, DEFENDER_HELLO, ("version",), 1, 255),
    (decode_from_defender, DEFENDER_HELLO, ("policy",), 0, 255),
    *(
        (decode_from_defender, DEFENDER_HELLO, ("facts", name), 0, 255)
        for name in ("os", "kernel", "fqdn")
    ),
    (decode_from_defender, RENEWAL, ("request",), 1, 8192),
    (decode_from_console, CONSOLE_HELLO, ("version",), 1, 255),
    (decode_from_console, POLICY, ("hash",), 0, 255),
    (decode_from_console, CERTIFICATE, ("certificate",), 1, 8192),
    (decode_rule, RULE, ("name",), 1, 255),
    (decode_rule, RULE, ("hosts", 0), 1, 1024),
    (decode_rule, RULE, ("notes",), 0, 1024),
    (decode_rule, RULE, ("owner",), 0, 255),
    (decode_rule, RULE, ("processes", "denied", 0), 1, 1024),
    (decode_rule, RULE, ("files", "paths", 0, "path"), 1, 4096),
    (decode_rule, RULE, ("files", "exclusions", 0), 1, 1024),
    (decode_rule, RULE, ("compliance", "checks", 0), 1, 255),
]


def _called(case: tuple[Any, ...]) -> str:
    decode, document, place = case[:3]
    kind = document.get("kind") or document.get("type", "")
    return "-".join([decode.__name__, kind, *map(str, place)])


@pytest.mark.parametrize(
    ("decode", "document", "place", "least", "most"), TEXTS, ids=map(_called, TEXTS)
)
def test_each_text_has_its_length(
    decode: Decode, document: Document, place: Place, least: int, most: int
) -> None:
    """The longest is taken, and one letter more is not."""
    for length, taken in ((least - 1, False), (least, True), (most, True)):
        if length >= 0:
            text = "/" * length
            assert is_taken(decode, changed(document, place, text)) is taken
    assert not is_taken(decode, changed(document, place, "/" * (most + 1)))


NUMBERS: list[tuple[Decode, Document, Place, int, int]] = [
    *(
        (decode_event, document, ("number",), 1, LARGEST_NUMBER)
        for document in (PROCESS, FILE, COMPLIANCE, DROPPED, TROUBLE)
    ),
    (decode_event, PROCESS, ("pid",), 0, LARGEST_NUMBER),
    *(
        (decode_event, DROPPED, (name,), 1, LARGEST_NUMBER)
        for name in ("count", "first", "last")
    ),
    (decode_from_defender, DEFENDER_HELLO, ("protocol",), 0, LARGEST_NUMBER),
    (decode_from_defender, DEFENDER_HELLO, ("facts", "cpuCount"), 0, LARGEST_NUMBER),
    (decode_from_defender, DEFENDER_HELLO, ("facts", "packages"), 0, LARGEST_NUMBER),
    (decode_from_console, CONSOLE_HELLO, ("epoch",), 0, LARGEST_NUMBER),
    (decode_from_console, CONSOLE_HELLO, ("protocol",), 0, LARGEST_NUMBER),
    (decode_from_console, POLICY, ("version",), 0, LARGEST_NUMBER),
    (decode_from_console, GOODBYE, ("retryAfterMs",), 0, LARGEST_NUMBER),
    (decode_from_console, GOODBYE, ("spreadMs",), 0, LARGEST_NUMBER),
    (decode_rule, RULE, ("compliance", "everyHours"), 1, 8760),
]


@pytest.mark.parametrize(
    ("decode", "document", "place", "least", "most"), NUMBERS, ids=map(_called, NUMBERS)
)
def test_each_number_has_its_bounds(
    decode: Decode, document: Document, place: Place, least: int, most: int
) -> None:
    """MongoDB's whole numbers have 64 bits; a rule runs at least once a year."""
    found = [
        number
        for number in (least - 1, least, most, most + 1)
        if is_taken(decode, changed(document, place, number))
    ]

    assert found == [least, most]


@pytest.mark.parametrize("name", ["memoryGB", "totalDiskSpaceGB", "freeDiskSpaceGB"])
def test_sizes_of_a_host_are_neither_negative_nor_endless(name: str) -> None:
    """In GB, and not whole."""
    taken = [
        size
        for size in (-0.001, 0, 7.5, 999_999_999_999.0, 1e12)
        if is_taken(
            decode_from_defender, changed(DEFENDER_HELLO, ("facts", name), size)
        )
    ]

    assert taken == [0, 7.5, 999_999_999_999.0]


@pytest.mark.parametrize(
    ("time", "taken"),
    [
        ("1969-12-31T23:59:59Z", False),
        ("1970-01-01T00:00:00Z", True),
        ("9998-12-31T23:59:59Z", True),
        ("9999-01-01T00:00:00Z", False),
        ("2026-11-24T12:00:00", False),
    ],
)
def test_a_time_has_a_zone_and_fits_in_a_database(time: str, taken: bool) -> None:
    """From 1970 to the end of the year 9998."""
    assert is_taken(decode_event, changed(TROUBLE, ("time",), time)) is taken
    assert is_taken(decode_rule, changed(RULE, ("modified",), time)) is taken


LISTS: list[tuple[Decode, Document, Place, int, int]] = [
    (decode_event, COMPLIANCE, ("results",), 0, 200),
    (decode_rule, RULE, ("hosts",), 1, 500),
    (decode_rule, RULE, ("processes", "denied"), 0, 500),
    (decode_rule, RULE, ("files", "paths"), 0, 200),
    (decode_rule, RULE, ("files", "exclusions"), 0, 200),
    (decode_rule, RULE, ("compliance", "checks"), 0, 200),
]


@pytest.mark.parametrize(
    ("decode", "document", "place", "least", "most"), LISTS, ids=map(_called, LISTS)
)
def test_each_list_has_its_length(
    decode: Decode, document: Document, place: Place, least: int, most: int
) -> None:
    """So that no message grows without end."""
    whole: Any = document
    for step in place:
        whole = whole[step]
    found = [
        length
        for length in (0, 1, most, most + 1)
        if is_taken(decode, changed(document, place, whole[:1] * length))
    ]

    assert found == [length for length in (0, 1, most) if length >= least]


def test_a_message_holds_up_to_five_hundred_events() -> None:
    """And at least one."""
    taken = [
        length
        for length in (0, 1, 500, 501)
        if is_taken(
            decode_from_defender,
            json.dumps(
                {
                    "type": "events",
                    "events": [TROUBLE | {"number": n + 1} for n in range(length)],
                }
            ),
        )
    ]

    assert taken == [1, 500]
    assert MAX_EVENTS == 500


def test_a_message_has_up_to_a_million_characters() -> None:
    """Exactly 2 to the power of 20; the largest one is read."""
    pong = '{"type":"pong"}'

    assert decode_from_console(pong.ljust(2**20)) == Pong()
    assert not is_taken(decode_from_console, pong.ljust(2**20 + 1))
    assert MAX_MESSAGE_CHARACTERS == 2**20


def test_a_policy_has_up_to_two_hundred_rules() -> None:
    """The order of more could not be kept in mind."""
    policy = TypeAdapter(HostPolicy)
    rules = [RULE | {"name": str(number)} for number in range(201)]

    assert len(policy.validate_json(json.dumps({"rules": rules[:200]})).rules) == 200
    with pytest.raises(ValueError, match="at most 200"):
        policy.validate_json(json.dumps({"rules": rules}))


@pytest.mark.parametrize(
    ("decode", "document", "place", "values"),
    [
        (decode_event, PROCESS, ("effect",), ["alert", "prevent"]),
        (
            decode_event,
            FILE,
            ("change",),
            ["created", "modified", "deleted", "attributes", "moved"],
        ),
        (
            decode_event,
            COMPLIANCE,
            ("results", 0, "severity"),
            ["low", "medium", "high", "critical"],
        ),
        (decode_rule, RULE, ("processes", "effect"), ["alert", "prevent"]),
        (decode_rule, RULE, ("files", "effect"), ["alert"]),
    ],
)
def test_a_word_is_one_of_those_that_are_known(
    decode: Decode, document: Document, place: Place, values: list[str]
) -> None:
    """A Defender and a Console of one release know the same ones."""
    assert all(is_taken(decode, changed(document, place, each)) for each in values)
    assert not is_taken(decode, changed(document, place, "other"))


@pytest.mark.parametrize(
    ("decode", "document", "optional"),
    [
        (decode_event, PROCESS, set()),
        (
            decode_event,
            FILE,
            {"hashBefore", "hashAfter", "mode", "owner", "process"},
        ),
        (decode_event, COMPLIANCE, {"effect"}),
        (decode_event, DROPPED, {"rule", "effect"}),
        (decode_event, TROUBLE, {"rule", "effect"}),
        (decode_from_defender, DEFENDER_HELLO, {"protocol", "policy", "facts"}),
        (decode_from_defender, RENEWAL, set()),
        (decode_from_defender, {"type": "facts", "facts": FACTS}, set()),
        (decode_from_console, CONSOLE_HELLO, {"protocol", "renews"}),
        (decode_from_console, POLICY, set()),
        (decode_from_console, CERTIFICATE, set()),
        (decode_from_console, GOODBYE, set()),
        (decode_rule, RULE, set(RULE) - {"name"}),
    ],
)
def test_only_these_members_may_be_missing(
    decode: Decode, document: Document, optional: set[str]
) -> None:
    """A peer of a release before does not know them; their values are as before."""
    missing = {
        name
        for name in document
        if is_taken(
            decode, json.dumps({k: v for k, v in document.items() if k != name})
        )
    }

    assert missing == optional


def test_a_defender_waits_a_minute_and_renews_a_hundred_days_before_the_end() -> None:
    """Both sides must have the same numbers."""
    assert (HELLO_TIMEOUT_S, RENEWAL_DAYS) == (60, 100)
