"""Rules of the heartbeat payload, and of the peer that it yields."""

from dataclasses import replace

import pytest

from plugins.ha.consensus.state import DEAD_MEMBER, Observation, Ports
from plugins.ha.peers.heartbeats import (
    Heartbeat,
    heartbeat_payload,
    peer_from_heartbeat,
    record_heartbeat,
    record_refusal,
)
from tests.ha.observations import (
    ME,
    MS,
    NOW,
    OTHER,
    SECOND,
    THIRD,
    candidate,
    holder,
    peer,
    serving_peer,
    standby,
)


@pytest.mark.parametrize(
    ("observation", "holding"),
    [
        pytest.param(standby(), 0, id="standby"),
        pytest.param(standby(last_renounced_epoch=7), 0, id="closed-since"),
        pytest.param(holder(), 7, id="holder-about-to-open"),
        pytest.param(holder(ports=Ports.OPEN), 7, id="holder"),
        pytest.param(
            candidate(last_renounced_epoch=7, ports=Ports.CLOSING),
            7,
            id="dropped-and-closing",
        ),
        pytest.param(
            candidate(last_renounced_epoch=7, ports=Ports.OPENING),
            7,
            id="dropped-and-opening",
        ),
        pytest.param(
            candidate(last_renounced_epoch=7, ports=Ports.FAILED),
            7,
            id="dropped-and-stuck",
        ),
    ],
)
def test_a_node_holds_its_epoch_until_its_ports_are_closed(
    observation: Observation, holding: int
) -> None:
    """0 is a promise that others act upon."""
    assert heartbeat_payload(observation, "why", NOW).serving_epoch == holding


def test_only_a_take_in_flight_may_give_a_lease() -> None:
    """A renewal in flight gives nothing back once the lease was dropped."""
    assert (
        heartbeat_payload(
            standby(lease_request_pending=True, acquire_pending=True), "why", NOW
        ).acquire_pending
        is True
    )
    assert (
        heartbeat_payload(
            standby(lease_request_pending=True), "why", NOW
        ).acquire_pending
        is False
    )


def test_a_node_tells_what_its_member_is() -> None:
    """A silent mongod may be slow; one that ended is gone."""
    silent = heartbeat_payload(standby(member=None), "why", NOW)
    dead = heartbeat_payload(standby(member=DEAD_MEMBER), "why", NOW)

    assert (silent.state, silent.mongod_alive) == ("UNKNOWN", True)
    assert (dead.state, dead.mongod_alive) == ("DOWN", False)
    assert (silent.writable, silent.primary) == (False, None)


@pytest.mark.parametrize(
    ("other", "hears"),
    [
        pytest.param(serving_peer(), [OTHER], id="primary"),
        pytest.param(peer(), [], id="standby"),
        pytest.param(serving_peer(heard_at=NOW - SECOND), [], id="silent"),
        pytest.param(serving_peer(refused=True), [], id="refused"),
    ],
)
def test_a_node_bears_witness_only_to_a_primary_it_hears(
    other: object, hears: list[str]
) -> None:
    """A primary whose host refuses is gone, however lately it was heard."""
    observation = standby(peers=(other, peer(THIRD)))

    assert list(heartbeat_payload(observation, "why", NOW).reachable_primaries) == hears


def test_a_peer_is_what_its_heartbeat_says() -> None:
    """As of when the question was sent, not of when the answer came."""
    payload = heartbeat_payload(
        holder(ports=Ports.OPEN, cooldown_until=NOW + 1), "why", NOW
    )

    known = peer_from_heartbeat(
        peer(ME, heard_at=1, refused=True, lost_at=5), payload, NOW - MS
    )

    assert known == replace(
        peer(ME),
        heard_at=NOW - MS,
        primary_claimed_at=NOW - MS,
        state="PRIMARY",
        writable=True,
        primary=ME,
        serving_epoch=7,
        in_cooldown=True,
        version=payload.version,
        reason="why",
    )


def test_a_peer_is_lost_from_when_it_was_first_found_so() -> None:
    """Until it answers again with a mongod that runs."""
    dead = heartbeat_payload(standby(member=DEAD_MEMBER), "why", NOW)
    well = heartbeat_payload(standby(), "why", NOW)
    observation = standby()

    once = record_refusal(observation, OTHER, NOW)
    twice = record_refusal(once, OTHER, NOW + 1)
    ended = record_heartbeat(observation, OTHER, dead, NOW)
    still = record_heartbeat(ended, OTHER, dead, NOW + 1)
    again = record_heartbeat(still, OTHER, well, NOW + 2)

    assert [_lost(s) for s in (once, twice, ended, still, again)] == [
        (NOW, True),
        (NOW, True),
        (NOW, False),
        (NOW, False),
        (0, False),
    ]


def _lost(observation: Observation) -> tuple[int, bool]:
    found = observation.peer(OTHER)
    assert found is not None
    return found.lost_at, found.refused


def test_a_node_removed_meanwhile_is_not_heard() -> None:
    """Its last answer may arrive after it left the set."""
    observation = standby(peers=(peer(THIRD),))

    assert (
        record_heartbeat(
            observation, OTHER, heartbeat_payload(standby(), "why", NOW), NOW
        )
        is observation
    )
    assert record_refusal(observation, OTHER, NOW) is observation


def test_the_keys_of_the_payload_are_those_of_earlier_releases() -> None:
    """Nodes of two releases understand each other's heartbeats during an upgrade."""
    content = heartbeat_payload(holder(), "why", NOW, "disk full").as_json()

    assert content["holding"] == 7
    assert {"taking", "hears", "resting", "cause"} < content.keys()
    assert Heartbeat.model_validate(content).database_problem == "disk full"
