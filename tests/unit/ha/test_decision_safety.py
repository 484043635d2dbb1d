"""What holds of a decision whatever a node knows, also what it should never know."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ha.consensus.decision import decide
from plugins.ha.consensus.lease import HeldLease, ObservedLease
from plugins.ha.consensus.state import (
    DEAD_MEMBER,
    ClosePorts,
    DropLease,
    FailedServer,
    Handover,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    RenewLease,
    TakeLease,
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
    lambda address, told: peer(address, **told),
    st.sampled_from([OTHER, THIRD]),
    st.fixed_dictionaries(
        {
            "heard_at": AROUND_NOW | st.just(0),
            "lost_at": AROUND_NOW | st.just(0),
            "refused": st.booleans(),
            "writable": st.booleans(),
            "state": st.sampled_from(["PRIMARY", "SECONDARY", "STARTUP2"]),
            "holding": st.sampled_from([0, 6, 7, 8]),
            "taking": st.booleans(),
            "resting": st.booleans(),
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
        sighting=draw(st.none() | st.builds(ObservedLease, LEASES, AROUND_NOW)),
        hold=draw(st.none() | st.builds(HeldLease, LEASES, AROUND_NOW, AROUND_NOW)),
        asking=draw(st.booleans()),
        ports=draw(st.sampled_from(Ports)),
        failures=draw(st.integers(0, 20)),
        failed_at=draw(AROUND_NOW),
        failed_servers=tuple(draw(st.lists(FAILED_SERVERS, max_size=2))),
        reopening=draw(st.booleans()),
        peers=tuple(peers),
        handover=draw(st.sampled_from([None, Handover(THIRD, "asked by admin")])),
        resting_until=draw(AROUND_NOW),
        resting_reason="resting: why",
        stepping=draw(st.booleans()),
        stepped_at=draw(AROUND_NOW),
    )


@settings(deadline=None)
@given(observations())
def test_a_decision_says_why_and_when_to_look_again(seen: Observation) -> None:
    """An operator reads the reason; the keeper sleeps no longer than the deadline."""
    decision = decide(seen, NOW)

    assert decision.reason
    assert decision.wake_at >= NOW
    if seen.hold is not None and seen.hold.deadline > NOW:
        assert decision.wake_at <= seen.hold.deadline


@settings(deadline=None)
@given(observations())
def test_without_a_lease_nothing_opens_and_what_is_open_closes(
    seen: Observation,
) -> None:
    """Closing comes first, whatever else there is to do."""
    actions = decide(seen, NOW).actions

    if seen.hold is None:
        assert not any(isinstance(action, OpenPorts | RenewLease) for action in actions)
        if seen.ports is Ports.OPEN:
            assert actions[0] == ClosePorts()


@settings(deadline=None)
@given(observations())
def test_after_the_deadline_a_holder_closes(seen: Observation) -> None:
    """A lease that ran out is neither renewed nor served under for a moment more."""
    actions = decide(seen, NOW).actions

    if seen.hold is not None and seen.hold.deadline <= NOW:
        assert actions[:2] == (DropLease(), ClosePorts())
        assert not any(isinstance(action, OpenPorts | RenewLease) for action in actions)


@settings(deadline=None)
@given(observations())
def test_only_a_primary_at_rest_with_closed_ports_takes_the_lease(
    seen: Observation,
) -> None:
    """And one lease request at a time: what is in flight may be granted yet."""
    if any(isinstance(action, TakeLease) for action in decide(seen, NOW).actions):
        assert seen.member == PRIMARY
        assert seen.ports is Ports.CLOSED
        assert not seen.asking
        assert seen.resting_until <= NOW
