"""Rules of the lease: who holds it, until when, and when another may take it."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ha.consensus.lease import (
    NEVER_HELD,
    HeldLease,
    LeaseDocument,
    ObservedLease,
    available_at,
)
from tests.ha.sketch import LEASE, LEASE_OF_B, MS, NOW, SECOND, TTL, A, B, observed


def test_a_lease_is_read_as_it_was_stored() -> None:
    """What one node writes is what another reads."""
    assert LeaseDocument.from_stored({**asdict(LEASE), "_id": "lease"}) == LEASE


def test_a_lease_without_a_token_is_read() -> None:
    """The document that a cluster begins with has no token."""
    stored = asdict(NEVER_HELD)
    del stored["token"]

    assert LeaseDocument.from_stored(stored) == NEVER_HELD


def test_each_new_holder_has_an_epoch_of_its_own() -> None:
    """Taking the lease raises the epoch by one, under the taker's own TTL."""
    assert LEASE.acquired_by(B, 9 * SECOND, "t8") == LeaseDocument(
        B, epoch=8, seq=41, ttl=9 * SECOND, released=False, token="t8"
    )


def test_a_renewal_changes_the_count_and_nothing_else() -> None:
    """Others see that the holder lives by the lease changing."""
    assert LEASE.renewed(TTL) == replace(LEASE, seq=41)


def test_a_lease_given_back_is_free_under_the_same_epoch() -> None:
    """Releasing begins no new epoch: no node serves under the one that ended."""
    assert LEASE.as_released() == replace(LEASE, seq=41, released=True)


def test_a_hold_counts_from_when_the_write_was_sent() -> None:
    """The holder stops at 80 % of the TTL, and renews six times in one."""
    assert HeldLease.acknowledged(LEASE, NOW) == HeldLease(
        LEASE, deadline=NOW + 1200 * MS, renew_at=NOW + 250 * MS
    )


@pytest.mark.parametrize(
    ("document", "changed_at"),
    [
        pytest.param(LEASE, NOW, id="the-same"),
        pytest.param(LEASE.renewed(TTL), NOW + SECOND, id="renewed"),
        pytest.param(replace(LEASE, token="other"), NOW + SECOND, id="taken-anew"),
    ],
)
def test_only_a_change_extends_the_wait(
    document: LeaseDocument, changed_at: int
) -> None:
    """Reading the same lease again does not make it younger."""
    updated = ObservedLease(LEASE, NOW).updated(document, NOW + SECOND)

    assert updated == ObservedLease(document, changed_at)


@pytest.mark.parametrize(
    ("document", "renounced", "expected"),
    [
        pytest.param(NEVER_HELD, False, 0, id="never-held"),
        pytest.param(replace(LEASE_OF_B, released=True), False, 0, id="released"),
        pytest.param(LEASE, False, 0, id="our-own"),
        pytest.param(LEASE_OF_B, True, 0, id="renounced"),
        pytest.param(LEASE_OF_B, False, NOW - 100 * MS + TTL, id="held"),
        pytest.param(
            replace(LEASE_OF_B, ttl=60 * SECOND),
            False,
            NOW - 100 * MS + 60 * SECOND,
            id="held-with-a-longer-ttl",
        ),
    ],
)
def test_a_lease_is_waited_out(
    document: LeaseDocument, expected: int, *, renounced: bool
) -> None:
    """Another's lease is free its holder's whole TTL after it changed last."""
    found = available_at(
        observed(document, ago=100), self_address=A, holder_renounced=renounced
    )

    assert found == expected


@settings(deadline=None)
@given(
    ttl=st.integers(1, 60 * SECOND),
    sent_at=st.integers(0, NOW),
    travelled=st.integers(0, SECOND),
)
def test_a_holder_stops_before_another_may_start(
    ttl: int, sent_at: int, travelled: int
) -> None:
    """A lease is never seen to change before it was sent, so no two nodes serve."""
    document = replace(LEASE, ttl=ttl)
    held = HeldLease.acknowledged(document, sent_at)
    witnessed = ObservedLease(document, sent_at + travelled)

    assert held.deadline <= available_at(
        witnessed, self_address=B, holder_renounced=False
    )
    assert held.renew_at <= held.deadline
