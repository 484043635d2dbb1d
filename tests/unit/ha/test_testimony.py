"""What nodes tell each other in heartbeats, and what a peer becomes by it."""

from dataclasses import replace

import pytest

from plugins.ha.consensus.state import DEAD_MEMBER, Observation, Ports
from plugins.ha.peers.heartbeats import _heard, _refused, peer_from
from plugins.ha.peers.heartbeats import heartbeat_of as told_by
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
    ("seen", "holding"),
    [
        pytest.param(standby(), 0, id="standby"),
        pytest.param(standby(renounced=7), 0, id="closed-since"),
        pytest.param(holder(), 7, id="holder-about-to-open"),
        pytest.param(holder(ports=Ports.OPEN), 7, id="holder"),
        pytest.param(
            candidate(renounced=7, ports=Ports.CLOSING), 7, id="dropped-and-closing"
        ),
        pytest.param(
            candidate(renounced=7, ports=Ports.OPENING), 7, id="dropped-and-opening"
        ),
        pytest.param(
            candidate(renounced=7, ports=Ports.FAILED), 7, id="dropped-and-stuck"
        ),
    ],
)
def test_a_node_holds_its_epoch_until_its_ports_are_closed(
    seen: Observation, holding: int
) -> None:
    """0 is a promise that others act upon."""
    assert told_by(seen, "why", NOW).holding == holding


def test_only_a_take_in_flight_may_give_a_lease() -> None:
    """A renewal in flight gives nothing back once the lease was dropped."""
    assert told_by(standby(asking=True, taking=True), "why", NOW).taking is True
    assert told_by(standby(asking=True), "why", NOW).taking is False


def test_a_node_tells_what_its_member_is() -> None:
    """A silent mongod may be slow; one that ended is gone."""
    silent = told_by(standby(member=None), "why", NOW)
    dead = told_by(standby(member=DEAD_MEMBER), "why", NOW)

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
    seen = standby(peers=(other, peer(THIRD)))

    assert list(told_by(seen, "why", NOW).hears) == hears


def test_a_peer_is_what_its_heartbeat_says() -> None:
    """As of when the question was sent, not of when the answer came."""
    told = told_by(holder(ports=Ports.OPEN, resting_until=NOW + 1), "why", NOW)

    known = peer_from(peer(ME, heard_at=1, refused=True, lost_at=5), told, NOW - MS)

    assert known == replace(
        peer(ME),
        heard_at=NOW - MS,
        claimed_at=NOW - MS,
        state="PRIMARY",
        writable=True,
        primary=ME,
        holding=7,
        resting=True,
        version=told.version,
        reason="why",
    )


def test_a_peer_is_lost_from_when_it_was_first_found_so() -> None:
    """Until it answers again with a mongod that runs."""
    dead = told_by(standby(member=DEAD_MEMBER), "why", NOW)
    well = told_by(standby(), "why", NOW)
    seen = standby()

    once = _refused(seen, OTHER, NOW)
    twice = _refused(once, OTHER, NOW + 1)
    ended = _heard(seen, OTHER, dead, NOW)
    still = _heard(ended, OTHER, dead, NOW + 1)
    again = _heard(still, OTHER, well, NOW + 2)

    assert [_lost(s) for s in (once, twice, ended, still, again)] == [
        (NOW, True),
        (NOW, True),
        (NOW, False),
        (NOW, False),
        (0, False),
    ]


def _lost(seen: Observation) -> tuple[int, bool]:
    found = seen.peer(OTHER)
    assert found is not None
    return found.lost_at, found.refused


def test_a_node_removed_meanwhile_is_not_heard() -> None:
    """Its last answer may arrive after it left the set."""
    seen = standby(peers=(peer(THIRD),))

    assert _heard(seen, OTHER, told_by(standby(), "why", NOW), NOW) is seen
    assert _refused(seen, OTHER, NOW) is seen
