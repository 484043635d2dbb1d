"""The messages between Console and Defender, and what is done with garbage."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.protocol import (
    MAX_MESSAGE_CHARACTERS,
    PROTOCOL,
    Acknowledged,
    CertificateRenewed,
    ConsoleHello,
    DefenderHello,
    Events,
    Facts,
    FactsChanged,
    FromConsole,
    FromDefender,
    Goodbye,
    HostRule,
    Ping,
    PolicyPushed,
    Pong,
    ProtocolError,
    RenewalRequested,
    Scan,
    TroubleEvent,
    check_protocol,
    decode_from_console,
    decode_from_defender,
    encode,
    encode_ack,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAME = st.text(min_size=1, max_size=255)
NATURAL = st.integers(0, 2**63 - 1)


FACTS = st.builds(
    Facts, os=NAME, cpu_count=NATURAL, memory_gb=st.floats(0, 1e9), packages=NATURAL
)
RULE = st.none() | st.builds(HostRule, NAME)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIRST, SECOND = (TroubleEvent(number, NOON, "no permission") for number in (1, 2))


@given(
    st.builds(ConsoleHello, NATURAL, NAME, NATURAL, st.booleans())
    | st.builds(CertificateRenewed, NAME)
    | st.builds(PolicyPushed, NATURAL, NAME, RULE)
    | st.builds(Acknowledged, NATURAL)
    | st.builds(Goodbye, NATURAL, NATURAL)
    | st.sampled_from([Pong(), Scan()])
)
def test_what_a_console_writes_a_defender_reads(message: FromConsole) -> None:
    """Encoding and decoding are inverse."""
    assert decode_from_console(encode(message)) == message


@given(NATURAL)
def test_the_fast_way_to_acknowledge_is_the_same(through: int) -> None:
    """It knows the format by heart, and must not drift away from it."""
    assert encode_ack(through) == encode(Acknowledged(through))


@given(
    st.builds(DefenderHello, NAME, NAME, NATURAL, NAME, FACTS)
    | st.builds(FactsChanged, FACTS)
    | st.builds(RenewalRequested, NAME)
    | st.sampled_from([Ping(), Events((FIRST,)), Events((FIRST, SECOND))])
)
def test_what_a_defender_writes_a_console_reads(message: FromDefender) -> None:
    """Encoding and decoding are inverse."""
    assert decode_from_defender(encode(message)) == message


def test_the_first_message_tells_the_epoch() -> None:
    """The wire format is what a Defender in the field was built for."""
    assert json.loads(encode(ConsoleHello(epoch=7, version="1.2.3"))) == {
        "type": "hello",
        "protocol": 1,
        "epoch": 7,
        "version": "1.2.3",
        "renews": False,
    }


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_garbage_is_an_error_and_nothing_else(frame: str | bytes) -> None:
    """Whatever a peer sends, we say what is wrong with it."""
    for decode in (decode_from_console, decode_from_defender):
        with pytest.raises(ProtocolError) as caught:
            decode(frame)

        assert caught.value.code in {1003, 1007}
        assert str(caught.value)


@given(
    st.dictionaries(st.text(), JSON),
    st.sampled_from(["hello", "ping", "events", "facts", "renewal"]),
)
def test_a_type_with_garbage_is_an_error_or_a_message(
    members: dict[str, object], kind: str
) -> None:
    """Members of the wrong type never get through."""
    try:
        message = decode_from_defender(json.dumps(members | {"type": kind}))
    except ProtocolError:
        return

    assert isinstance(message, FromDefender)
    assert decode_from_defender(encode(message)) == message


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        pytest.param('{"type":"hello"}', "defender", id="missing"),
        pytest.param('{"type":"shutdown"}', "shutdown", id="unknown-type"),
        pytest.param('{"epoch":1}', "type", id="no-type"),
        pytest.param("[]", "malformed", id="not-an-object"),
        pytest.param('{"type":"events","events":[]}', "at least 1", id="no-events"),
        pytest.param(
            encode(Events((FIRST, FIRST))),
            ": the numbers of events must rise$",
            id="same-number",
        ),
        pytest.param(encode(Events((SECOND, FIRST))), "must rise", id="falling"),
        pytest.param("{", "JSON", id="not-json"),
        pytest.param(b"{}", "text", id="bytes"),
        pytest.param(
            '{"type":"hello","defender":"","version":"1"}', "defender", id="empty-name"
        ),
        pytest.param(
            '{"type":"hello","defender":"a","version":"1","protocol":"1"}',
            "protocol",
            id="number-as-text",
        ),
        pytest.param(
            '{"type":"hello","defender":"a","version":"1","protocol":true}',
            "protocol",
            id="boolean-as-number",
        ),
    ],
)
def test_an_error_says_what_is_wrong(frame: str | bytes, words: str) -> None:
    """An operator can find the mistake from the close reason."""
    with pytest.raises(ProtocolError, match=words):
        decode_from_defender(frame)


def test_a_newer_peer_may_add_members() -> None:
    """What we do not know we ignore; the protocol's version is for real changes."""
    assert decode_from_defender('{"type":"ping","since":12}') == Ping()


def test_members_of_several_words_are_camel_case() -> None:
    """As everywhere in the product's JSON; units keep their capitals."""
    goodbye = json.loads(encode(Goodbye(500, 2000)))
    facts = json.loads(encode(FactsChanged(Facts(memory_gb=7.5))))["facts"]

    assert goodbye == {"type": "goodbye", "retryAfterMs": 500, "spreadMs": 2000}
    assert {"cpuCount", "memoryGB", "totalDiskSpaceGB", "freeDiskSpaceGB"} < set(facts)


def test_a_message_has_a_largest_size() -> None:
    """What is longer is not even looked at."""
    with pytest.raises(ProtocolError, match="at most") as caught:
        decode_from_console("[" * (MAX_MESSAGE_CHARACTERS + 1))

    assert caught.value.code == 1009


@pytest.mark.parametrize("version", [0, PROTOCOL + 1])
def test_another_protocol_is_refused(version: int) -> None:
    """Peers with different versions do not guess."""
    with pytest.raises(ProtocolError) as caught:
        check_protocol(DefenderHello("a", "1", version))

    assert str(caught.value) == f"we speak protocol 1, not {version}; upgrade one"
    assert caught.value.code == 1002
    check_protocol(ConsoleHello(1, "1"))


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        pytest.param(
            '{"type":"events","events":[{"kind":"process"}]}',
            "malformed message (events.events.0.process.number): Field required",
            id="deep",
        ),
        pytest.param(
            "[]",
            "malformed message: Input should be an object",
            id="the-message-itself",
        ),
        pytest.param(
            '{"type":"a\\u0007\\nb"}',
            "malformed message: Input tag 'a??b' found using 'type' does not match any "
            "of the expected tags: 'hello', 'events', 'facts', 'renewal', 'ping'",
            id="control-characters",
        ),
    ],
)
def test_an_error_is_one_line_that_names_the_place(frame: str, sentence: str) -> None:
    """Steps have a dot between; without a place there is none; no control character."""
    with pytest.raises(ProtocolError) as refused:
        decode_from_defender(frame)

    assert str(refused.value) == sentence


def test_bytes_are_refused_as_a_kind_of_frame() -> None:
    """1003 is the close code for data that cannot be accepted (RFC 6455, 7.4.1)."""
    with pytest.raises(ProtocolError) as refused:
        decode_from_defender(b"{}")

    assert refused.value.code == 1003
    assert str(refused.value) == "messages are text, not bytes"
