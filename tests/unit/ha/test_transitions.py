"""Rules of the transitions of `Observation`: what changes, and what never returns."""

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
    AcquireLease,
    Action,
    ClosePorts,
    FailedServer,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    RenounceLease,
    ReopenServers,
    StepDown,
    StepUp,
    SwitchoverRequest,
    TransferRole,
    Update,
)
from plugins.ha.consensus.transitions import ServerFailure
from plugins.ha.peers.heartbeats import heartbeat_payload
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
    TTL,
    candidate,
    holder,
    lease,
    peer,
    standby,
)


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        pytest.param(ReadLease(), {"lease_request_pending": True}, id="read"),
        pytest.param(
            AcquireLease(lease(), TTL),
            {"lease_request_pending": True, "acquire_pending": True},
            id="take",
        ),
        pytest.param(
            RenewLease(lease(), TTL), {"lease_request_pending": True}, id="renew"
        ),
        pytest.param(OpenPorts(7), {"ports": Ports.OPENING}, id="open"),
        pytest.param(ClosePorts(), {"ports": Ports.CLOSING}, id="close"),
        pytest.param(ReopenServers(), {"reopen_pending": True}, id="reopen"),
        pytest.param(StepUp(), {"election_step_pending": True}, id="step-up"),
        pytest.param(StepDown(), {"election_step_pending": True}, id="step-down"),
        pytest.param(
            TransferRole(lease(), OTHER),
            {"election_step_pending": True},
            id="hand-over",
        ),
        pytest.param(ReleaseLease(lease()), {}, id="release"),
    ],
)
def test_an_action_under_way_is_known(action: Action, changes: Any) -> None:
    """The decision does not start it twice."""
    observation = standby()

    assert transitions.action_started(observation, action, "why", NOW) == replace(
        observation, **changes
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
    observation = holder(
        port_failures=failures, switchover_request=SwitchoverRequest(None, "asked")
    )

    dropped = transitions.action_started(observation, RenounceLease(), "why", NOW)

    assert dropped.held_lease is None
    assert dropped.last_renounced_epoch == 7
    assert dropped.switchover_request is None
    assert dropped.cooldown_until == NOW + seconds * SECOND
    assert dropped.cooldown_reason == "cooldown: why"


def test_opening_all_ports_opens_what_had_failed() -> None:
    """No single server is opened again beside it."""
    opening = transitions.action_started(
        holder(reopen_pending=True), OpenPorts(7), "why", NOW
    )

    assert (opening.ports, opening.reopen_pending) == (Ports.OPENING, False)


def test_a_node_alone_does_not_rest() -> None:
    """No other node could serve meanwhile."""
    dropped = transitions.action_started(holder(peers=()), RenounceLease(), "why", NOW)

    assert dropped.cooldown_until == NOW


def test_dropping_twice_renounces_the_same_epoch() -> None:
    """What was renounced stays so."""
    dropped = transitions.action_started(
        standby(last_renounced_epoch=7), RenounceLease(), "why", NOW
    )

    assert dropped.last_renounced_epoch == 7


def test_a_rest_is_never_shortened() -> None:
    """A node that is being stopped rests for good."""
    observation = transitions.enter_cooldown(standby(), NOW + SECOND, "stopped")

    assert transitions.enter_cooldown(observation, NOW, "again") is observation
    assert transitions.enter_cooldown(observation, NOW + SECOND, "x") is observation


def test_only_a_holder_leaves_and_only_once() -> None:
    """A switchover that comes too late must not end the next time it serves."""
    leaving = transitions.request_switchover(holder(), THIRD, "asked")

    assert leaving.switchover_request == SwitchoverRequest(THIRD, "asked")
    assert transitions.request_switchover(leaving, OTHER, "again") is leaving
    observation = standby()
    assert transitions.request_switchover(observation, None, "asked") is observation


def test_a_newly_named_primary_is_dated() -> None:
    """Its earlier heartbeats may be from before its election."""
    observation = standby(primary_changed_at=NOW - SECOND)
    other = Member("SECONDARY", writable=False, primary=THIRD)

    same = transitions.member_polled(observation, SECONDARY, (101, 1), NOW)
    changed = transitions.member_polled(observation, other, None, NOW)
    blind = transitions.member_polled(observation, None, None, NOW)

    assert (same.primary_changed_at, same.optime) == (NOW - SECOND, (101, 1))
    assert (changed.primary_changed_at, changed.optime) == (NOW, (100, 1))
    assert (blind.primary_changed_at, blind.member) == (NOW, None)
    assert (
        transitions.member_polled(blind, other, None, NOW + 1).primary_changed_at
        == NOW + 1
    )


def test_it_is_dated_when_a_member_became_writable() -> None:
    """The date stays while it remains writable."""
    primary = Member("PRIMARY", writable=True, primary=THIRD)

    first = transitions.member_polled(standby(), primary, None, NOW)
    again = transitions.member_polled(first, primary, None, NOW + 5)
    blind = transitions.member_polled(again, None, None, NOW + 6)
    anew = transitions.member_polled(blind, primary, None, NOW + 7)

    assert [s.writable_since for s in (first, again, anew)] == [NOW, NOW, NOW + 7]


def test_peers_are_the_other_members() -> None:
    """Known ones keep what was heard of them, and strangers are not taken in."""
    observation = standby()
    heard = peer(THIRD, version="2")

    observation = transitions.heartbeat_received(observation, heard)
    observation = transitions.heartbeat_received(observation, peer("10.0.0.9"))
    observation = transitions.members_changed(observation, 5, {"10.0.0.4": 4, THIRD: 3})

    assert observation.peers == (heard, Peer("10.0.0.4", 4))
    assert observation.member_id == 5


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        pytest.param(peer(THIRD, heard_at=NOW + 200 * MS), True, id="heard-on"),
        pytest.param(peer(THIRD, heard_at=NOW + 700 * MS), False, id="after-a-gap"),
        pytest.param(peer(THIRD, heard_at=NOW + 700 * MS - 1), True, id="just-in-time"),
        pytest.param(
            peer(THIRD, heard_at=NOW + 200 * MS, state="ROLLBACK"), False, id="unwell"
        ),
    ],
)
def test_it_is_dated_since_when_a_peer_is_well(later: Peer, kept: bool) -> None:
    """Without a gap: in one it may have been anything."""
    observation = standby(peers=(peer(THIRD, state="STARTUP2"),))
    observation = transitions.heartbeat_received(observation, peer(THIRD, heard_at=NOW))

    [dated] = transitions.heartbeat_received(observation, later).peers

    assert dated.healthy_since == (NOW if kept else later.heard_at)


def test_the_lease_is_dated_by_its_changes() -> None:
    """Not by the looks at it."""
    observation = transitions.lease_observed(standby(observed_lease=None), lease(), NOW)

    again = transitions.lease_observed(observation, lease(), NOW + 1)
    changed = transitions.lease_observed(observation, lease(seq=41), NOW + 1)

    assert observation.observed_lease == ObservedLease(lease(), NOW)
    assert again.observed_lease == observation.observed_lease
    assert changed.observed_lease == ObservedLease(lease(seq=41), NOW + 1)


@pytest.mark.parametrize(
    ("observation", "held"),
    [
        pytest.param(candidate(), True, id="taken"),
        pytest.param(holder(), True, id="renewed"),
        pytest.param(candidate(last_renounced_epoch=6), True, id="a-later-epoch"),
        pytest.param(
            candidate(last_renounced_epoch=7), False, id="renounced-meanwhile"
        ),
        pytest.param(candidate(cooldown_until=NOW + 1), False, id="stopped-meanwhile"),
        pytest.param(candidate(cooldown_until=NOW), True, id="rested"),
        pytest.param(holder(cooldown_until=NOW + 1), True, id="renewed-while-leaving"),
    ],
)
def test_an_acknowledgement_gives_the_lease_unless_it_was_renounced(
    observation: Observation, held: bool
) -> None:
    """The deadline counts from before the request was sent."""
    sent_at = NOW - 50 * MS
    document = lease(ME)

    after = transitions.lease_acknowledged(observation, document, sent_at, NOW)

    assert (after.held_lease is not None) == held
    assert after.observed_lease is not None
    assert after.observed_lease.document == document
    assert after.held_lease is None or after.held_lease.deadline == sent_at + 1200 * MS


def test_an_acknowledged_lease_changed_when_its_answer_came() -> None:
    """Others may take it over a lease time later; this node counts as they do."""
    after = transitions.lease_acknowledged(candidate(), lease(ME), NOW - MS, NOW)

    assert after.observed_lease == ObservedLease(lease(ME), NOW)


def test_an_answered_request_is_not_in_flight() -> None:
    """Whatever its outcome."""
    observation = candidate(lease_request_pending=True, acquire_pending=True)

    assert transitions.lease_request_finished(observation) == candidate()


@pytest.mark.parametrize(
    "ports", [Ports.CLOSED, Ports.CLOSING, Ports.FAILED, Ports.PAUSED]
)
def test_ports_that_are_not_open_cannot_fail(ports: Ports) -> None:
    """A server that is ended on purpose is no failure, and needs no pause."""
    observation = holder(ports=ports)

    assert failed(observation, others_run=True) is observation
    assert failed(observation) is observation
    assert transitions.ports_paused(observation, "a restore") is observation


@pytest.mark.parametrize("ports", [Ports.OPENING, Ports.OPEN])
@pytest.mark.parametrize("failures", [0, 1])
def test_a_planned_pause_of_the_ports_is_no_failure(
    ports: Ports, failures: int
) -> None:
    """However often and soon after a failure it comes: no rest, and no handover."""
    observation = holder(ports=ports, port_failures=failures, ports_failed_at=NOW)

    once = transitions.ports_paused(observation, "a restore")
    twice = transitions.ports_paused(replace(once, ports=Ports.OPEN), "another")

    assert once == replace(observation, ports=Ports.PAUSED, pause_reason="a restore")
    assert twice == replace(observation, ports=Ports.PAUSED, pause_reason="another")


def test_servers_that_end_with_the_lease_have_not_failed() -> None:
    """A host that was frozen finds them ended, and need not rest for it."""
    observation = holder(ports=Ports.OPEN)
    assert observation.held_lease is not None

    assert failed(observation, observation.held_lease.deadline) is observation
    assert failed(observation, observation.held_lease.deadline - 1).port_failures == 1


def test_ports_that_fail_again_make_it_hand_over() -> None:
    """Once it tries again; a node that is alone tries for ever."""
    first = failed(holder(ports=Ports.OPENING))
    second = failed(replace(first, ports=Ports.OPEN), NOW + 1)
    alone = failed(replace(first, ports=Ports.OPEN, peers=()), NOW + 1)

    assert (first.ports, first.port_failures, first.ports_failed_at) == (
        Ports.FAILED,
        1,
        NOW,
    )
    assert first.switchover_request is None
    assert second.switchover_request == SwitchoverRequest(
        None, "the service ports do not stay open here: it crashed"
    )
    assert alone.switchover_request is None


def test_a_server_that_fails_alone_closes_no_other() -> None:
    """The ports stay open, and the one that failed is noted until it is open again."""
    observation = failed(holder(ports=Ports.OPEN), others_run=True)
    reopened = transitions.servers_reopened(observation, ())
    still_closed = transitions.servers_reopened(observation, ("management",))

    assert (observation.ports, observation.switchover_request) == (Ports.OPEN, None)
    assert observation.closed_servers == (FailedServer("management", 1, NOW),)
    assert reopened.closed_servers == ()
    assert reopened.port_failures == 1
    pending = replace(observation, reopen_pending=True)
    assert transitions.servers_reopened(pending, ()).reopen_pending is False
    assert still_closed.closed_servers == observation.closed_servers


def test_a_server_that_cannot_be_opened_again_makes_it_hand_over() -> None:
    """To a node that is fit; where there is none the other servers go on."""
    first = failed(holder(ports=Ports.OPEN), others_run=True)
    unfit = replace(
        first, peers=(peer(state="STARTUP2"), peer(THIRD, in_cooldown=True))
    )

    assert failed(first, others_run=True).switchover_request == SwitchoverRequest(
        None, "the service ports do not stay open here: it crashed"
    )
    assert failed(unfit, others_run=True).switchover_request is None
    assert failed(unfit, others_run=True).closed_servers[0].count == 2


def test_two_servers_that_fail_once_are_no_repeated_failure() -> None:
    """Each counts alone, also where both end at the same moment."""
    first = failed(holder(ports=Ports.OPEN), others_run=True)
    both = transitions.server_failed(
        first, ServerFailure("defenders", "it crashed"), NOW, others_run=False
    )

    assert (both.ports, both.port_failures, both.switchover_request) == (
        Ports.FAILED,
        1,
        None,
    )


def test_a_server_whose_end_was_missed_is_opened_again() -> None:
    """That it is closed is enough; it does not count as a failure."""
    observation = holder(ports=Ports.OPEN)
    missed = transitions.servers_polled(observation, ("defenders",), NOW)

    assert missed.closed_servers == (FailedServer("defenders", 0, NOW),)
    assert missed.port_failures == 0
    assert transitions.servers_polled(missed, ("defenders",), NOW + 1) is missed
    assert transitions.servers_polled(observation, (), NOW) is observation
    reopening = replace(observation, reopen_pending=True)
    assert transitions.servers_polled(reopening, ("defenders",), NOW) is reopening


def test_a_server_whose_end_was_missed_keeps_its_own_count() -> None:
    """That the other one failed before says nothing about it."""
    both = replace(
        holder(ports=Ports.OPEN),
        failed_servers=(
            FailedServer("defenders", 1, NOW - SECOND, is_closed=False),
            FailedServer("management", 3, NOW - SECOND, is_closed=False),
        ),
    )

    [closed] = transitions.servers_polled(both, ("defenders",), NOW).closed_servers

    assert closed == FailedServer("defenders", 1, NOW)


def test_servers_that_failed_are_forgotten_once_the_ports_are_proven() -> None:
    """The next failure is a first one."""
    observation = transitions.servers_reopened(
        failed(holder(ports=Ports.OPEN), others_run=True), ()
    )

    proven = transitions.ports_proven_stable(observation, NOW + 31 * SECOND)

    assert proven.failed_servers == ()
    assert failed(proven, others_run=True).port_failures == 1


def test_ports_that_all_failed_have_not_opened() -> None:
    """They may end while the last of them is still being opened, or asked."""
    observation = failed(holder(ports=Ports.OPENING))

    assert transitions.ports_opened(observation) is observation


def test_ports_of_which_one_failed_have_opened() -> None:
    """The other serves, and the one that failed is opened again."""
    observation = failed(holder(ports=Ports.OPENING), others_run=True)

    assert transitions.ports_opened(observation).ports is Ports.OPEN
    assert (
        transitions.ports_opened(observation).closed_servers
        == observation.closed_servers
    )


def test_ports_follow_their_server() -> None:
    """Open, closed, stuck, and proved once they stayed open for half a minute."""
    observation = holder(ports=Ports.OPENING, port_failures=1, ports_failed_at=NOW)

    opened = transitions.ports_opened(observation)
    stuck = transitions.ports_close_failed(opened, NOW + 1)

    assert opened.ports is Ports.OPEN
    assert (stuck.ports, stuck.ports_failed_at) == (Ports.FAILED, NOW + 1)
    assert transitions.ports_closed(opened).ports is Ports.CLOSED
    assert transitions.ports_proven_stable(opened, NOW + 30 * SECOND) is opened
    assert transitions.ports_proven_stable(opened, NOW + 31 * SECOND).port_failures == 0
    assert (
        transitions.ports_proven_stable(observation, NOW + 31 * SECOND) is observation
    )
    one_closed = failed(opened, others_run=True)
    assert transitions.ports_proven_stable(one_closed, NOW + 31 * SECOND) is one_closed
    assert transitions.ports_closed(one_closed).closed_servers == ()


def test_a_step_that_ended_is_dated() -> None:
    """So that the next one waits a while."""
    observation = transitions.election_step_finished(
        standby(election_step_pending=True), NOW
    )

    assert (observation.election_step_pending, observation.election_step_ended_at) == (
        False,
        NOW,
    )


def failed(
    observation: Observation, now: int = NOW, *, others_run: bool = False
) -> Observation:
    """The management server crashed."""
    end = ServerFailure("management", "it crashed")
    return transitions.server_failed(observation, end, now, others_run=others_run)


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
    serving_epoch=st.sampled_from([0, 6, 7, 8]),
    acquire_pending=st.booleans(),
    writable=st.booleans(),
)
UPDATES: st.SearchStrategy[Update] = st.one_of(
    st.builds(lambda m: lambda s: transitions.member_polled(s, m, None, NOW), MEMBERS),
    st.builds(lambda p: lambda s: transitions.heartbeat_received(s, p), PEERS),
    st.builds(lambda d: lambda s: transitions.lease_observed(s, d, NOW), DOCUMENTS),
    st.builds(
        lambda d: (
            lambda s: transitions.lease_acknowledged(s, replace(d, holder=ME), NOW, NOW)
        ),
        DOCUMENTS,
    ),
    st.sampled_from(
        [
            transitions.lease_request_finished,
            transitions.ports_opened,
            transitions.ports_closed,
            lambda s: failed(s),
            lambda s: failed(s, others_run=True),
            lambda s: transitions.servers_reopened(s, ()),
            lambda s: transitions.servers_reopened(s, ("management",)),
            lambda s: transitions.servers_polled(s, ("defenders",), NOW),
            lambda s: transitions.ports_paused(s, "a restore"),
            lambda s: transitions.ports_close_failed(s, NOW),
            lambda s: transitions.ports_proven_stable(s, NOW),
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
    observation = Observation(ME, 1, TIMING, peers=(peer(), peer(THIRD)))
    now, renounced = NOW, 0
    for update, later in history:
        observation, now = update(observation), now + later
        for _ in range(10):
            decision = decide(observation, now)
            for action in decision.actions:
                _allowed(observation, action, now)
                observation = transitions.action_started(
                    observation, action, decision.reason, now
                )
            if not decision.actions:
                break
        else:
            pytest.fail(f"it never comes to rest: {decision}")
        assert observation.last_renounced_epoch >= renounced
        assert (
            observation.held_lease is None
            or observation.held_lease.document.epoch > observation.last_renounced_epoch
        )
        assert observation.held_lease is None or now < observation.held_lease.deadline
        assert observation.ports is not Ports.OPEN or observation.held_lease is not None
        epoch = heartbeat_payload(observation, "why", now).serving_epoch
        assert epoch or observation.held_lease is None
        renounced = observation.last_renounced_epoch


def _allowed(observation: Observation, action: Action, now: int) -> None:
    match action:
        case OpenPorts(epoch):
            assert observation.held_lease is not None
            assert (
                observation.held_lease.document.epoch
                == epoch
                > observation.last_renounced_epoch
            )
        case ReopenServers():
            assert observation.held_lease is not None
            assert observation.ports is Ports.OPEN
        case AcquireLease():
            assert observation.member is not None
            assert observation.member.writable
            assert observation.ports is Ports.CLOSED
            assert now >= observation.cooldown_until
        case TransferRole() | ReleaseLease():
            assert observation.ports is Ports.CLOSED
            assert observation.held_lease is None
        case _:
            pass
