"""How what a node knows changes, and what never comes back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ha.consensus import transitions
from plugins.ha.consensus.decision import decide
from plugins.ha.consensus.lease import ObservedLease
from plugins.ha.consensus.state import (
    DEAD_MEMBER,
    Action,
    ClosePorts,
    DropLease,
    FailedServer,
    HandOver,
    Handover,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    ReopenServers,
    StepDown,
    StepUp,
    TakeLease,
    Update,
)
from plugins.ha.consensus.transitions import ServerEnd
from plugins.ha.peers.heartbeats import heartbeat_of as told_by
from tests.ha.observations import (
    ME,
    MS,
    NOW,
    OTHER,
    PRIMARY,
    SECOND,
    SECONDARY,
    THIRD,
    TIMING,
    candidate,
    holder,
    lease,
    peer,
    standby,
)


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        pytest.param(ReadLease(), {"asking": True}, id="read"),
        pytest.param(TakeLease(lease()), {"asking": True, "taking": True}, id="take"),
        pytest.param(RenewLease(lease()), {"asking": True}, id="renew"),
        pytest.param(OpenPorts(7), {"ports": Ports.OPENING}, id="open"),
        pytest.param(ClosePorts(), {"ports": Ports.CLOSING}, id="close"),
        pytest.param(ReopenServers(), {"reopening": True}, id="reopen"),
        pytest.param(StepUp(), {"stepping": True}, id="step-up"),
        pytest.param(StepDown(), {"stepping": True}, id="step-down"),
        pytest.param(HandOver(lease(), OTHER), {"stepping": True}, id="hand-over"),
        pytest.param(ReleaseLease(lease()), {}, id="release"),
    ],
)
def test_an_action_under_way_is_known(action: Action, changes: Any) -> None:
    """So that it is not begun twice."""
    seen = standby()

    assert transitions.action_started(seen, action, "why", NOW) == replace(
        seen, **changes
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        pytest.param(0, 5, id="not-its-ports-fault"),
        pytest.param(1, 10, id="ports-failed-once"),
        pytest.param(3, 40, id="ports-failed-again"),
        pytest.param(60, 60, id="a-minute-at-most"),
    ],
)
def test_a_node_that_dropped_the_lease_rests(failures: int, seconds: int) -> None:
    """Longer each time that its ports failed: two sick nodes must not ping-pong."""
    seen = holder(failures=failures, handover=Handover(None, "asked"))

    dropped = transitions.action_started(seen, DropLease(), "why", NOW)

    assert dropped.hold is None
    assert dropped.renounced == 7
    assert dropped.handover is None
    assert dropped.resting_until == NOW + seconds * SECOND
    assert dropped.resting_reason == "resting: why"


def test_a_node_alone_does_not_rest() -> None:
    """Nobody else could serve meanwhile."""
    dropped = transitions.action_started(holder(peers=()), DropLease(), "why", NOW)

    assert dropped.resting_until == NOW


def test_dropping_twice_renounces_the_same_epoch() -> None:
    """What was renounced stays so."""
    dropped = transitions.action_started(standby(renounced=7), DropLease(), "why", NOW)

    assert dropped.renounced == 7


def test_a_rest_is_never_shortened() -> None:
    """A node that is being stopped rests for good."""
    seen = transitions.resting(standby(), NOW + SECOND, "stopped")

    assert transitions.resting(seen, NOW, "again") is seen


def test_only_a_holder_leaves_and_only_once() -> None:
    """A switchover that comes too late must not end the next time it serves."""
    leaving = transitions.request_switchover(holder(), THIRD, "asked")

    assert leaving.handover == Handover(THIRD, "asked")
    assert transitions.request_switchover(leaving, OTHER, "again") is leaving
    seen = standby()
    assert transitions.request_switchover(seen, None, "asked") is seen


def test_a_newly_named_primary_is_dated() -> None:
    """What it told before may be from before it was elected."""
    seen = standby(named_at=NOW - SECOND)
    other = Member("SECONDARY", writable=False, primary=THIRD)

    same = transitions.member_seen(seen, SECONDARY, (101, 1), NOW)
    changed = transitions.member_seen(seen, other, None, NOW)
    blind = transitions.member_seen(seen, None, None, NOW)

    assert (same.named_at, same.optime) == (NOW - SECOND, (101, 1))
    assert (changed.named_at, changed.optime) == (NOW, (100, 1))
    assert (blind.named_at, blind.member) == (NOW, None)
    assert transitions.member_seen(blind, other, None, NOW + 1).named_at == NOW + 1


def test_it_is_dated_when_a_member_became_writable() -> None:
    """Told again, that it is stays of the same date."""
    primary = Member("PRIMARY", writable=True, primary=THIRD)

    first = transitions.member_seen(standby(), primary, None, NOW)
    again = transitions.member_seen(first, primary, None, NOW + 5)
    blind = transitions.member_seen(again, None, None, NOW + 6)
    anew = transitions.member_seen(blind, primary, None, NOW + 7)

    assert [s.writable_since for s in (first, again, anew)] == [NOW, NOW, NOW + 7]


def test_peers_are_the_other_members() -> None:
    """Known ones keep what was heard of them, and strangers are not taken in."""
    seen = standby()
    heard = peer(THIRD, version="2")

    seen = transitions.peer_heard(seen, heard)
    seen = transitions.peer_heard(seen, peer("10.0.0.9"))
    seen = transitions.peers_set(seen, 5, {"10.0.0.4": 4, THIRD: 3})

    assert seen.peers == (heard, Peer("10.0.0.4", 4))
    assert seen.member_id == 5


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        pytest.param(peer(THIRD, heard_at=NOW + 200 * MS), True, id="heard-on"),
        pytest.param(peer(THIRD, heard_at=NOW + 800 * MS), False, id="after-a-gap"),
        pytest.param(
            peer(THIRD, heard_at=NOW + 200 * MS, state="ROLLBACK"), False, id="unwell"
        ),
    ],
)
def test_it_is_dated_since_when_a_peer_is_well(later: Peer, kept: bool) -> None:
    """Without a gap: in one it may have been anything."""
    seen = standby(peers=(peer(THIRD, state="STARTUP2"),))
    seen = transitions.peer_heard(seen, peer(THIRD, heard_at=NOW))

    [dated] = transitions.peer_heard(seen, later).peers

    assert dated.well_since == (NOW if kept else later.heard_at)


def test_the_lease_is_dated_by_its_changes() -> None:
    """Not by the looks at it."""
    seen = transitions.lease_observed(standby(sighting=None), lease(), NOW)

    again = transitions.lease_observed(seen, lease(), NOW + 1)
    changed = transitions.lease_observed(seen, lease(seq=41), NOW + 1)

    assert seen.sighting == ObservedLease(lease(), NOW)
    assert again.sighting == seen.sighting
    assert changed.sighting == ObservedLease(lease(seq=41), NOW + 1)


@pytest.mark.parametrize(
    ("seen", "held"),
    [
        pytest.param(candidate(), True, id="taken"),
        pytest.param(holder(), True, id="renewed"),
        pytest.param(candidate(renounced=6), True, id="a-later-epoch"),
        pytest.param(candidate(renounced=7), False, id="renounced-meanwhile"),
        pytest.param(candidate(resting_until=NOW + 1), False, id="stopped-meanwhile"),
        pytest.param(holder(resting_until=NOW + 1), True, id="renewed-while-leaving"),
    ],
)
def test_an_acknowledgement_gives_the_lease_unless_it_was_renounced(
    seen: Observation, held: bool
) -> None:
    """The deadline counts from before the request was sent."""
    sent_at = NOW - 50 * MS
    document = lease(ME)

    after = transitions.lease_held(seen, document, sent_at, NOW)

    assert (after.hold is not None) == held
    assert after.sighting is not None
    assert after.sighting.document == document
    assert after.hold is None or after.hold.deadline == sent_at + 1200 * MS


def test_an_answered_request_is_not_in_flight() -> None:
    """Whatever its outcome."""
    seen = candidate(asking=True, taking=True)

    assert transitions.lease_answered(seen) == candidate()


@pytest.mark.parametrize(
    "ports", [Ports.CLOSED, Ports.CLOSING, Ports.FAILED, Ports.PAUSED]
)
def test_ports_that_are_not_open_cannot_fail(ports: Ports) -> None:
    """A server that is ended on purpose is no failure, and needs no pause."""
    seen = holder(ports=ports)

    assert failed(seen, others_run=True) is seen
    assert failed(seen) is seen
    assert transitions.ports_paused(seen, "a restore") is seen


@pytest.mark.parametrize("ports", [Ports.OPENING, Ports.OPEN])
@pytest.mark.parametrize("failures", [0, 1])
def test_a_planned_pause_of_the_ports_is_no_failure(
    ports: Ports, failures: int
) -> None:
    """However often and soon after a failure it comes: no rest, and no handover."""
    seen = holder(ports=ports, failures=failures, failed_at=NOW)

    once = transitions.ports_paused(seen, "a restore")
    twice = transitions.ports_paused(replace(once, ports=Ports.OPEN), "another")

    assert once == replace(seen, ports=Ports.PAUSED, pause="a restore")
    assert twice == replace(seen, ports=Ports.PAUSED, pause="another")


def test_servers_that_end_with_the_lease_have_not_failed() -> None:
    """A host that was frozen finds them ended, and need not rest for it."""
    seen = holder(ports=Ports.OPEN)
    assert seen.hold is not None

    assert failed(seen, seen.hold.deadline) is seen
    assert failed(seen, seen.hold.deadline - 1).failures == 1


def test_ports_that_fail_again_make_it_hand_over() -> None:
    """Once it tries again; a node that is alone tries for ever."""
    first = failed(holder(ports=Ports.OPENING))
    second = failed(replace(first, ports=Ports.OPEN), NOW + 1)
    alone = failed(replace(first, ports=Ports.OPEN, peers=()), NOW + 1)

    assert (first.ports, first.failures, first.failed_at) == (Ports.FAILED, 1, NOW)
    assert first.handover is None
    assert second.handover == Handover(
        None, "the service ports do not stay open here: it crashed"
    )
    assert alone.handover is None


def test_a_server_that_fails_alone_closes_no_other() -> None:
    """The ports stay open, and the one that failed is noted until it is open again."""
    seen = failed(holder(ports=Ports.OPEN), others_run=True)
    reopened = transitions.servers_reopened(seen, ())
    still_closed = transitions.servers_reopened(seen, ("management",))

    assert (seen.ports, seen.handover) == (Ports.OPEN, None)
    assert seen.closed_servers == (FailedServer("management", 1, NOW),)
    assert reopened.closed_servers == ()
    assert reopened.failures == 1
    assert still_closed.closed_servers == seen.closed_servers


def test_a_server_that_cannot_be_opened_again_makes_it_hand_over() -> None:
    """To a node that is fit; where there is none the other servers go on."""
    first = failed(holder(ports=Ports.OPEN), others_run=True)
    unfit = replace(first, peers=(peer(state="STARTUP2"), peer(THIRD, resting=True)))

    assert failed(first, others_run=True).handover == Handover(
        None, "the service ports do not stay open here: it crashed"
    )
    assert failed(unfit, others_run=True).handover is None
    assert failed(unfit, others_run=True).closed_servers[0].count == 2


def test_two_servers_that_fail_once_are_no_repeated_failure() -> None:
    """Each counts alone, also where both end at the same moment."""
    first = failed(holder(ports=Ports.OPEN), others_run=True)
    both = transitions.server_failed(
        first, ServerEnd("defenders", "it crashed"), NOW, others_run=False
    )

    assert (both.ports, both.failures, both.handover) == (Ports.FAILED, 1, None)


def test_a_server_whose_end_was_missed_is_opened_again() -> None:
    """That it is closed is enough; it does not count as a failure."""
    seen = holder(ports=Ports.OPEN)
    missed = transitions.servers_seen(seen, ("defenders",), NOW)

    assert missed.closed_servers == (FailedServer("defenders", 0, NOW),)
    assert missed.failures == 0
    assert transitions.servers_seen(missed, ("defenders",), NOW + 1) is missed
    assert transitions.servers_seen(seen, (), NOW) is seen
    reopening = replace(seen, reopening=True)
    assert transitions.servers_seen(reopening, ("defenders",), NOW) is reopening


def test_ports_that_all_failed_have_not_opened() -> None:
    """They may end while the last of them is still being opened, or asked."""
    seen = failed(holder(ports=Ports.OPENING))

    assert transitions.ports_opened(seen) is seen


def test_ports_of_which_one_failed_have_opened() -> None:
    """The other serves, and the one that failed is opened again."""
    seen = failed(holder(ports=Ports.OPENING), others_run=True)

    assert transitions.ports_opened(seen).ports is Ports.OPEN
    assert transitions.ports_opened(seen).closed_servers == seen.closed_servers


def test_ports_follow_their_server() -> None:
    """Open, closed, stuck, and proved once they stayed open for half a minute."""
    seen = holder(ports=Ports.OPENING, failures=1, failed_at=NOW)

    opened = transitions.ports_opened(seen)
    stuck = transitions.ports_stuck(opened, NOW + 1)

    assert opened.ports is Ports.OPEN
    assert (stuck.ports, stuck.failed_at) == (Ports.FAILED, NOW + 1)
    assert transitions.ports_closed(opened).ports is Ports.CLOSED
    assert transitions.ports_proven(opened, NOW + 30 * SECOND) is opened
    assert transitions.ports_proven(opened, NOW + 31 * SECOND).failures == 0
    assert transitions.ports_proven(seen, NOW + 31 * SECOND) is seen
    one_closed = failed(opened, others_run=True)
    assert transitions.ports_proven(one_closed, NOW + 31 * SECOND) is one_closed
    assert transitions.ports_closed(one_closed).closed_servers == ()


def test_a_step_that_ended_is_dated() -> None:
    """So that the next one waits a while."""
    seen = transitions.election_step_finished(standby(stepping=True), NOW)

    assert (seen.stepping, seen.stepped_at) == (False, NOW)


def failed(
    seen: Observation, now: int = NOW, *, others_run: bool = False
) -> Observation:
    """The management server crashed."""
    end = ServerEnd("management", "it crashed")
    return transitions.server_failed(seen, end, now, others_run=others_run)


DOCUMENTS = st.builds(
    lease,
    st.sampled_from([ME, OTHER, THIRD]),
    epoch=st.integers(5, 9),
    seq=st.integers(38, 42),
    released=st.booleans(),
)
MEMBERS = st.sampled_from([None, PRIMARY, SECONDARY, DEAD_MEMBER])
PEERS = st.builds(
    peer,
    st.sampled_from([OTHER, THIRD]),
    heard_at=st.integers(NOW - SECOND, NOW),
    holding=st.sampled_from([0, 6, 7, 8]),
    taking=st.booleans(),
    writable=st.booleans(),
)
UPDATES: st.SearchStrategy[Update] = st.one_of(
    st.builds(lambda m: lambda s: transitions.member_seen(s, m, None, NOW), MEMBERS),
    st.builds(lambda p: lambda s: transitions.peer_heard(s, p), PEERS),
    st.builds(lambda d: lambda s: transitions.lease_observed(s, d, NOW), DOCUMENTS),
    st.builds(
        lambda d: lambda s: transitions.lease_held(s, replace(d, holder=ME), NOW, NOW),
        DOCUMENTS,
    ),
    st.sampled_from(
        [
            transitions.lease_answered,
            transitions.ports_opened,
            transitions.ports_closed,
            lambda s: failed(s),
            lambda s: failed(s, others_run=True),
            lambda s: transitions.servers_reopened(s, ()),
            lambda s: transitions.servers_reopened(s, ("management",)),
            lambda s: transitions.servers_seen(s, ("defenders",), NOW),
            lambda s: transitions.ports_paused(s, "a restore"),
            lambda s: transitions.ports_stuck(s, NOW),
            lambda s: transitions.ports_proven(s, NOW),
            lambda s: transitions.election_step_finished(s, NOW),
            lambda s: transitions.request_switchover(s, None, "asked"),
        ]
    ),
)


@settings(deadline=None)
@given(st.lists(st.tuples(UPDATES, st.integers(0, 400 * MS)), max_size=30))
def test_whatever_it_learns_a_node_keeps_its_word(
    history: list[tuple[Update, int]],
) -> None:
    """It opens under a lease only, takes where writable only, renounces for good."""
    seen = Observation(ME, 1, TIMING, peers=(peer(), peer(THIRD)))
    now, renounced = NOW, 0
    for update, later in history:
        seen, now = update(seen), now + later
        for _ in range(10):
            decision = decide(seen, now)
            for action in decision.actions:
                _allowed(seen, action, now)
                seen = transitions.action_started(seen, action, decision.reason, now)
            if not decision.actions:
                break
        else:
            pytest.fail(f"it never comes to rest: {decision}")
        assert seen.renounced >= renounced
        assert seen.hold is None or seen.hold.document.epoch > seen.renounced
        assert seen.hold is None or now < seen.hold.deadline
        assert seen.ports is not Ports.OPEN or seen.hold is not None
        told = told_by(seen, "why", now).holding
        assert told or seen.hold is None
        renounced = seen.renounced


def _allowed(seen: Observation, action: Action, now: int) -> None:
    match action:
        case OpenPorts(epoch):
            assert seen.hold is not None
            assert seen.hold.document.epoch == epoch > seen.renounced
        case ReopenServers():
            assert seen.hold is not None
            assert seen.ports is Ports.OPEN
        case TakeLease():
            assert seen.member is not None
            assert seen.member.writable
            assert seen.ports is Ports.CLOSED
            assert now >= seen.resting_until
        case HandOver() | ReleaseLease():
            assert seen.ports is Ports.CLOSED
            assert seen.hold is None
        case _:
            pass
