"""The clock drift of hosts that the lease tolerates."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ha.consensus.lease import HeldLease, ObservedLease, available_at
from tests.ha.observations import ME, MS, OTHER, SECOND, lease

#: Both clocks may run wrong by a ninth: 0.8 * (1 + d) = 1 - d.
RATES = st.floats(min_value=1 - 0.111, max_value=1 + 0.111)


@settings(deadline=None)
@given(
    ttl=st.integers(100 * MS, 60 * SECOND),
    holder=RATES,
    taker=RATES,
    delay=st.integers(0, 10 * SECOND),
)
def test_a_hold_ends_before_others_may_take_over(
    ttl: int, holder: float, taker: float, delay: int
) -> None:
    """Also where one clock is 11 % slow and the other 11 % fast.

    The holder sent its write at true time 0 and another node saw it *delay* later.
    """
    held = HeldLease.acknowledged(lease(OTHER, ttl=ttl), sent_at=0)
    observed = ObservedLease(held.document, 0)

    closed = held.deadline / holder
    taken = (
        delay + available_at(observed, self_address=ME, holder_renounced=False) / taker
    )

    assert closed <= taken
