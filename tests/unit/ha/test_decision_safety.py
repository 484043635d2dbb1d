"""Invariants of the decision for all observations, also impossible ones."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ha.consensus.decision import decide
from plugins.ha.consensus.lease import HeldLease, ObservedLease
from plugins.ha.consensus.state import (
    DEAD_MEMBER,
    AcquireLease,
    ClosePorts,
    FailedServer,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    RenewLease,
    RenounceLease,
    SwitchoverRequest,
)
from tests.ha.observations import (
    ME,
    NOW,
    OTHER,
    PRIMARY,
    SECOND,
    SECONDARY,
    THIRD,
    TIMING,
    lease,
    peer,
)

AROUND_NOW = st.integers(NOW - 2 * SECOND, NOW + 2 * SECOND)
ADDRESSES = [ME, OTHER, THIRD]
LEASES = st.builds(
    lease,
    st.sampled_from(ADDRESSES),
    epoch=st.integers(6, 8),
    seq=st.integers(39, 41),
    released=st.booleans(),
)
PEERS = st.builds(
    lambda address, changes: peer(address, **changes),
    st.sampled_from([OTHER, THIRD]),
    st.fixed_dictionaries(
        {
            "heard_at": AROUND_NOW | st.just(0),
            "lost_at": AROUND_NOW | st.just(0),
            "refused": st.booleans(),
            "writable": st.booleans(),
            "state": st.sampled_from(["PRIMARY", "SECONDARY", "STARTUP2"]),
            "serving_epoch": st.sampled_from([0, 6, 7, 8]),
            "acquire_pending": st.booleans(),
            "in_cooldown": st.booleans(),
        }
    ),
)
MEMBERS = st.sampled_from(
    [None, PRIMARY, SECONDARY, DEAD_MEMBER, Member("ROLLBACK", writable=False)]
)


FAILED_SERVERS = st.builds(
    FailedServer,
    st.sampled_from(["defenders", "management"]),
    st.integers(0, 20),
    AROUND_NOW,
    st.booleans(),
)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Anything a node may know, however unlikely together."""
    peers: list[Peer] = draw(
        st.lists(PEERS, max_size=2, unique_by=lambda found: found.address)
    )
    return Observation(
        ME,
        member_id=1,
        timing=TIMING,
        member=draw(MEMBERS),
        observed_lease=draw(st.none() | st.builds(ObservedLease, LEASES, AROUND_NOW)),
        held_lease=draw(
            st.none() | st.builds(HeldLease, LEASES, AROUND_NOW, AROUND_NOW)
        ),
        lease_request_pending=draw(st.booleans()),
        ports=draw(st.sampled_from(Ports)),
        port_failures=draw(st.integers(0, 20)),
        ports_failed_at=draw(AROUND_NOW),
        failed_servers=tuple(draw(st.lists(FAILED_SERVERS, max_size=2))),
        reopen_pending=draw(st.booleans()),
        peers=tuple(peers),
        switchover_request=draw(
            st.sampled_from([None, SwitchoverRequest(THIRD, "asked by admin")])
        ),
        cooldown_until=draw(AROUND_NOW),
        cooldown_reason="cooldown: why",
        election_step_pending=draw(st.booleans()),
        election_step_ended_at=draw(AROUND_NOW),
    )


@settings(deadline=None)
@given(observations())
def test_a_decision_has_a_reason_and_a_time_of_the_next_one(
    observation: Observation,
) -> None:
    """An operator reads the reason; the loop sleeps no longer than the deadline."""
    decision = decide(observation, NOW)

    assert decision.reason
    assert decision.wake_at >= NOW
    if observation.held_lease is not None and observation.held_lease.deadline > NOW:
        assert decision.wake_at <= observation.held_lease.deadline


@settings(deadline=None)
@given(observations())
def test_without_a_lease_nothing_opens_and_what_is_open_closes(
    observation: Observation,
) -> None:
    """Closing comes first, whatever else there is to do."""
    actions = decide(observation, NOW).actions

    if observation.held_lease is None:
        assert not any(isinstance(action, OpenPorts | RenewLease) for action in actions)
        if observation.ports is Ports.OPEN:
            assert actions[0] == ClosePorts()


@settings(deadline=None)
@given(observations())
def test_after_the_deadline_a_holder_closes(observation: Observation) -> None:
    """A lease that ran out is neither renewed nor served under for a moment more."""
    actions = decide(observation, NOW).actions

    if observation.held_lease is not None and observation.held_lease.deadline <= NOW:
        assert actions[:2] == (RenounceLease(), ClosePorts())
        assert not any(isinstance(action, OpenPorts | RenewLease) for action in actions)


@settings(deadline=None)
@given(observations())
def test_only_a_primary_at_rest_with_closed_ports_takes_the_lease(
    observation: Observation,
) -> None:
    """And one lease request at a time: what is in flight may be granted yet."""
    if any(
        isinstance(action, AcquireLease) for action in decide(observation, NOW).actions
    ):
        assert observation.member == PRIMARY
        assert observation.ports is Ports.CLOSED
        assert not observation.lease_request_pending
        assert observation.cooldown_until <= NOW
