"""Whatever a Defender sends, the server lives on, and the others notice nothing."""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from statistics import median
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database
from websockets.exceptions import ConnectionClosed

from tests.fleet.defender_client import (
    NOON,
    PATIENCE,
    Dialled,
    FleetClient,
    masked,
    seconds_until_acknowledged,
    trouble,
)
from tests.hosts.pace import Pace
from twistlock_console.protocol import Events, Ping, ProcessEvent, encode
from twistlock_console.servers.supervisor.child_listener import ChildListener

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
GOOD = json.loads(encode(Events((trouble(1),))))
KINDS = st.sampled_from(["hello", "events", "facts", "ping"])
MUTATED = st.builds(
    lambda kind, members, event: (
        GOOD | members | {"type": kind, "events": [GOOD["events"][0] | event]}
    ),
    KINDS,
    st.dictionaries(st.sampled_from(["defender", "facts", "protocol"]), JSON),
    st.dictionaries(st.sampled_from(["number", "time", "kind", "rule"]), JSON),
)
FRAME = st.text() | st.binary() | (JSON | MUTATED).map(json.dumps)
LONGEST_ACK_S = 2.0
"""What the others are answered within on an idle machine; see `Pace`."""


@pytest.fixture
def neighbour(fleet: FleetClient) -> Dialled:
    """Another Defender, whose number of reports goes on."""
    return fleet.dial("neighbour").greet()


def is_answered_soon(neighbour: Dialled, number: int = 1) -> bool:
    """Whether the neighbour's event is acknowledged as soon as it should."""
    with Pace() as pace:
        seconds = seconds_until_acknowledged(neighbour, number)
    return seconds < pace.limit(LONGEST_ACK_S)


def test_no_message_ends_the_server_or_another_connection(
    fleet: FleetClient, neighbour: Dialled, server: ChildListener
) -> None:
    """Random and mutated messages, before and after a hello."""
    pid = server.pid
    numbers = iter(range(1, 10_000))

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(FRAME, min_size=1, max_size=4), st.booleans())
    def fuzz(frames: list[str | bytes], greeted: bool) -> None:
        rude = fleet.dial("rude")
        with suppress(ConnectionClosed):
            if greeted:
                rude.greet()
            for frame in frames:
                rude.send(frame)
        rude.connection.close()
        assert is_answered_soon(neighbour, next(numbers))

    fuzz()
    assert server.pid == pid


def test_half_open_connections_are_no_burden(
    fleet: FleetClient, neighbour: Dialled
) -> None:
    """Many who connect and say nothing, or stop in the middle of TLS."""
    with ExitStack() as held:
        for count in range(1000):
            silent = socket.create_connection(("127.0.0.1", fleet.port), PATIENCE)
            held.enter_context(silent)
            if count % 2:
                silent.sendall(b"\x16\x03\x01\x02\x00\x01")

        assert is_answered_soon(neighbour)
        assert fleet.dial("late").greet().report(trouble(1)) == 1


def test_a_defender_that_never_reads_disturbs_no_other(
    fleet: FleetClient, neighbour: Dialled
) -> None:
    """Its acknowledgements wait for it alone."""
    name, port = "slow", fleet.port
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with fleet.tls(name).wrap_socket(plain, server_hostname="127.0.0.1") as raw:
        raw.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        raw.settimeout(0.5)
        hello = json.dumps({"type": "hello", "defender": name, "version": "1"})
        with suppress(TimeoutError, OSError, ssl.SSLError):
            raw.sendall(masked(hello.encode()))
            for number in range(1, 3000):
                raw.sendall(masked(encode(Events((trouble(number),))).encode()))

        assert is_answered_soon(neighbour)


def test_a_flood_of_pings_is_sent_away(fleet: FleetClient, neighbour: Dialled) -> None:
    """Code 1013, and the neighbour is answered meanwhile."""
    flood = fleet.dial("flood").greet()
    with suppress(ConnectionClosed):
        for _ in range(2000):
            flood.send(Ping())
    assert is_answered_soon(neighbour)

    code, reason = flood.ending()
    assert (code, "without events" in reason) == (1013, True)


def test_a_flood_of_websocket_pings_is_cut_off(
    fleet: FleetClient, neighbour: Dialled
) -> None:
    """Who sends more of them than a Defender ever would, and perhaps reads nothing."""
    flood = fleet.dial("flood").greet()
    with suppress(ConnectionClosed):
        for _ in range(2000):
            flood.connection.ping()

    assert is_answered_soon(neighbour)
    assert flood.ending()[0] == 1006


def test_a_flood_of_events_gets_no_more_than_its_share(
    fleet: FleetClient, neighbour: Dialled
) -> None:
    """One message of each Defender is in work at a time, however many it sends."""
    flood = fleet.dial("flood").greet()
    message = [
        ProcessEvent(n, NOON, "r", "alert", 1, "/bin/nc", "nc", "x" * 900, "u", "a")
        for n in range(1, 501)
    ]
    with suppress(ConnectionClosed, TimeoutError):
        for _ in range(10):
            flood.send(Events(tuple(message)))
    in_time = [is_answered_soon(neighbour, number) for number in range(1, 6)]

    assert in_time == [True] * 5
    assert flood.read_type("ack")["through"] == 500


def test_a_flood_of_events_does_not_delay_others(
    fleet: FleetClient,
    neighbour: Dialled,
    database: Database[dict[str, Any]],
    record_property: Callable[[str, object], None],
) -> None:
    """12,000 events of 2 KB of one Defender; none of them is lost."""
    flooding = fleet.dial("flood-2").greet()

    def send() -> None:
        text = "x" * 950
        for first in range(1, 12_001, 500):
            message = [
                ProcessEvent(n, NOON, "r", "alert", 1, f"/{text}", "nc", text, "u", "a")
                for n in range(first, first + 500)
            ]
            flooding.send(Events(tuple(message)))

    sending = threading.Thread(target=send)
    waits = []
    with Pace() as pace:
        sending.start()
        while sending.is_alive():
            waits.append(seconds_until_acknowledged(neighbour, len(waits) + 1))
    sending.join()
    while flooding.read_type("ack")["through"] < 12_000:
        pass

    stored = database["defender_events"].count_documents({"defender": "flood-2"})
    record_property(
        "told",
        f"flood of one Defender: another's acknowledgements, median "
        f"{median(waits):.3f} s, worst of {len(waits)} {max(waits):.3f} s, "
        f"pace {pace.slowness:.1f}",
    )
    assert stored == 12_000
    assert sorted(waits)[int(len(waits) * 0.99)] < pace.limit(0.5)
