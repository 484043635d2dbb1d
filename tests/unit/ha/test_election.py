"""Rules of `decide_election`: when a standby stands for election, as tables."""

from dataclasses import replace

import pytest

from plugins.ha.consensus.election import NEVER, ElectionDecision, decide_election
from plugins.ha.consensus.lease import ObservedLease
from plugins.ha.consensus.state import Member, Observation, Peer
from tests.ha.observations import (
    ME,
    MS,
    NOW,
    OTHER,
    SECOND,
    THIRD,
    lease,
    orphan,
    peer,
    serving_peer,
    standby,
)

STAND = "10.0.0.2 is silent: standing for election"
OLD = ObservedLease(lease(), NOW - 5 * SECOND)


def gone(**changes: object) -> Peer:
    """OTHER, whose host refuses since 50 ms."""
    lost = serving_peer(refused=True, lost_at=NOW - 50 * MS)
    return replace(lost, **changes)


@pytest.mark.parametrize(
    ("observation", "now", "reason"),
    [
        pytest.param(orphan(), True, STAND, id="silent-for-long"),
        pytest.param(
            orphan(member=None),
            False,
            "the local database is silent",
            id="blind",
        ),
        pytest.param(
            orphan(member=Member("RECOVERING", writable=False)),
            False,
            "the local database is RECOVERING",
            id="we-recover",
        ),
        pytest.param(standby(), False, "10.0.0.2 is primary", id="all-is-well"),
        pytest.param(
            orphan(silent_ms=600),
            False,
            "10.0.0.2 is primary",
            id="heard-before",
        ),
        pytest.param(orphan(silent_ms=700), True, STAND, id="silent-for-just-long"),
        pytest.param(
            orphan(observed_lease=ObservedLease(lease(), NOW - 100 * MS)),
            False,
            "10.0.0.2 was heard a moment ago",
            id="silent-but-it-renews-its-lease",
        ),
        pytest.param(
            standby(peers=(peer(), peer(THIRD)), observed_lease=OLD),
            True,
            STAND,
            id="it-is-there-and-holds-no-role",
        ),
        pytest.param(
            standby(
                peers=(peer(), peer(THIRD)),
                observed_lease=OLD,
                primary_changed_at=NOW - 50 * MS,
            ),
            False,
            "10.0.0.2 was heard a moment ago",
            id="elected-just-now-and-not-asked-since",
        ),
        pytest.param(
            standby(
                peers=(peer(), peer(THIRD)),
                observed_lease=OLD,
                primary_changed_at=NOW - SECOND,
            ),
            True,
            STAND,
            id="named-by-our-member-and-it-denies",
        ),
        pytest.param(
            orphan(
                peers=(orphan().peers[0], peer(THIRD, reachable_primaries=(OTHER,)))
            ),
            False,
            "10.0.0.2 is silent here, but 10.0.0.3 hears it",
            id="only-our-link-is-broken",
        ),
        pytest.param(
            orphan(
                peers=(
                    orphan().peers[0],
                    peer(THIRD, reachable_primaries=(OTHER,), heard_at=NOW - 700 * MS),
                )
            ),
            False,
            "10.0.0.2 and all other nodes are silent: no majority",
            id="everybody-is-silent",
        ),
        pytest.param(
            orphan(peers=(orphan().peers[0], peer(THIRD, refused=True))),
            False,
            "10.0.0.2 and all other nodes are silent: no majority",
            id="two-of-three-are-gone",
        ),
        pytest.param(
            orphan(peers=(orphan().peers[0], peer(THIRD, heard_at=0))),
            False,
            "10.0.0.2 and all other nodes are silent: no majority",
            id="the-other-was-never-heard",
        ),
        pytest.param(
            standby(peers=(gone(), peer(THIRD, heard_at=NOW - 10 * MS))),
            True,
            STAND,
            id="refused-and-the-other-asked-since",
        ),
        pytest.param(
            standby(peers=(gone(), peer(THIRD))),
            False,
            "10.0.0.2 is gone; asking 10.0.0.3 for its oplog position",
            id="refused-and-the-other-not-asked-since",
        ),
        pytest.param(
            standby(
                peers=(
                    gone(refused=False, writable=False, heard_at=NOW - 50 * MS),
                    peer(THIRD, heard_at=NOW - 10 * MS),
                )
            ),
            True,
            STAND,
            id="its-mongod-ended",
        ),
        pytest.param(
            orphan(peers=(replace(orphan().peers[0], heard_at=0), peer(THIRD))),
            False,
            "10.0.0.2 was heard a moment ago",
            id="never-heard-so-mongodb-decides",
        ),
        pytest.param(
            orphan(cooldown_until=NOW + 1, cooldown_reason="cooldown: sick"),
            False,
            "cooldown: sick",
            id="we-rest",
        ),
        pytest.param(
            orphan(election_step_pending=True),
            False,
            "10.0.0.2 is silent; 10.0.0.1 stands for election first",
            id="standing-already",
        ),
        pytest.param(
            orphan(election_step_ended_at=NOW - 999 * MS),
            False,
            "10.0.0.2 is silent; 10.0.0.1 stands for election first",
            id="stood-a-moment-ago",
        ),
        pytest.param(
            orphan(peers=(orphan().peers[0], peer(THIRD, optime=(100, 2)))),
            False,
            "10.0.0.2 is silent; 10.0.0.3 stands for election first",
            id="the-other-knows-more",
        ),
        pytest.param(
            orphan(member_id=9),
            False,
            "10.0.0.2 is silent; 10.0.0.3 stands for election first",
            id="the-other-has-the-lower-number",
        ),
        pytest.param(
            orphan(member_id=9, optime=(100, 2)), True, STAND, id="we-know-more"
        ),
        pytest.param(
            orphan(
                member_id=9,
                peers=(orphan().peers[0], peer(THIRD, state="RECOVERING")),
            ),
            True,
            STAND,
            id="the-other-recovers",
        ),
        pytest.param(
            orphan(
                member_id=9, peers=(orphan().peers[0], peer(THIRD, in_cooldown=True))
            ),
            True,
            STAND,
            id="the-other-rests",
        ),
        pytest.param(
            standby(
                member=Member("SECONDARY", writable=False),
                observed_lease=None,
                peers=(peer(), peer(THIRD)),
            ),
            True,
            "the primary is silent: standing for election",
            id="nobody-knows-a-primary",
        ),
        pytest.param(
            standby(
                member=Member("SECONDARY", writable=False),
                observed_lease=ObservedLease(lease(ME), NOW - SECOND),
                peers=(peer(), peer(THIRD)),
            ),
            True,
            "the primary is silent: standing for election",
            id="we-were-the-last-primary",
        ),
        pytest.param(
            orphan(member=Member("SECONDARY", writable=False)),
            True,
            STAND,
            id="mongodb-names-none-but-the-lease-does",
        ),
        pytest.param(
            orphan(observed_lease=None),
            True,
            STAND,
            id="mongodb-names-one-without-a-lease",
        ),
        pytest.param(
            standby(
                member=Member("SECONDARY", writable=False),
                observed_lease=OLD,
                peers=(peer(), peer(THIRD)),
                primary_changed_at=NOW - 50 * MS,
            ),
            True,
            STAND,
            id="mongodb-names-none-any-more",
        ),
        pytest.param(
            standby(
                observed_lease=OLD,
                peers=(peer(), peer(THIRD)),
                primary_changed_at=NOW - 100 * MS,
            ),
            True,
            STAND,
            id="asked-when-it-was-named-and-it-denies",
        ),
        pytest.param(
            orphan(cooldown_until=NOW, cooldown_reason="cooldown: sick"),
            True,
            STAND,
            id="we-have-rested",
        ),
    ],
)
def test_a_standby_stands_only_for_a_primary_that_is_lost(
    observation: Observation, now: bool, reason: str
) -> None:
    """An election costs the role of whoever has it: only the best stands, and alone."""
    election = decide_election(observation, NOW)

    assert (election.now, election.reason) == (now, reason)


@pytest.mark.parametrize(
    ("observation", "wake_at"),
    [
        pytest.param(
            orphan(observed_lease=ObservedLease(lease(), NOW - 600 * MS)),
            NOW + 100 * MS,
            id="when-it-counts-as-lost",
        ),
        pytest.param(standby(), NOW + 200 * MS, id="after-a-heartbeat"),
        pytest.param(
            orphan(member_id=9), NOW + 400 * MS, id="half-a-second-behind-the-better"
        ),
        pytest.param(
            orphan(election_step_ended_at=NOW - 300 * MS),
            NOW + 700 * MS,
            id="after-the-cooldown",
        ),
        pytest.param(
            orphan(cooldown_until=NOW + 5 * SECOND), NOW + SECOND, id="while-it-rests"
        ),
        pytest.param(
            orphan(election_step_pending=True), NOW + SECOND // 5, id="while-it-stands"
        ),
        pytest.param(
            orphan(election_step_pending=True, election_step_ended_at=NOW - SECOND),
            NOW + SECOND // 5,
            id="while-it-stands-at-the-end-of-the-cooldown",
        ),
        pytest.param(orphan(), NOW + SECOND, id="after-it-stood"),
        pytest.param(
            orphan(
                peers=(orphan().peers[0], peer(THIRD, reachable_primaries=(OTHER,)))
            ),
            NOW + 200 * MS,
            id="a-heartbeat-after-a-witness-heard-the-primary",
        ),
        pytest.param(
            standby(peers=(gone(), peer(THIRD))),
            NOW + 200 * MS,
            id="a-heartbeat-after-it-asked-the-other",
        ),
        pytest.param(
            orphan(peers=(orphan().peers[0], peer(THIRD, refused=True))),
            NOW + 200 * MS,
            id="a-heartbeat-after-all-were-silent",
        ),
        pytest.param(
            orphan(member_id=9, observed_lease=OLD),
            NOW + 400 * MS,
            id="half-a-second-after-the-primary-counted-as-silent",
        ),
    ],
)
def test_it_says_when_to_decide_again(observation: Observation, wake_at: int) -> None:
    """The control loop need not poll."""
    assert decide_election(observation, NOW).wake_at == wake_at


def test_the_second_best_counts_from_when_the_primary_last_claimed_its_role() -> None:
    """A witness may hold both back for long; they must not then stand together."""
    lost = replace(orphan().peers[0], primary_claimed_at=NOW - 50 * MS, writable=False)

    election = decide_election(orphan(member_id=9, peers=(lost, peer(THIRD))), NOW)

    assert election == ElectionDecision(
        now=False,
        reason="10.0.0.2 is silent; 10.0.0.3 stands for election first",
        wake_at=NOW + 450 * MS,
    )
    assert NEVER > NOW
