"""Which certificates are refused, and which of several connections goes."""

from datetime import UTC, datetime, timedelta

import pytest

from twistlock_console.pki.tls import Identity, Usage
from twistlock_console.servers.defenders.certificate_check import (
    CertificateCheck,
    ConnectionsPerCertificate,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("serial", "begins", "expires", "words"),
    [
        pytest.param(1, NOW - DAY, NOW + DAY, None, id="valid"),
        pytest.param(1, None, NOW + DAY, None, id="begin-unknown"),
        pytest.param(2, NOW - DAY, NOW + DAY, "revoked", id="revoked"),
        pytest.param(
            1, NOW - 2 * DAY, NOW - DAY, "expired on 2026-11-23", id="expired"
        ),
        pytest.param(1, NOW + DAY, NOW + 2 * DAY, "2026-11-25 12:00", id="too-early"),
    ],
)
def test_a_certificate_is_refused_with_a_reason(
    serial: int, begins: datetime | None, expires: datetime, words: str | None
) -> None:
    """Revoked, expired, or not valid yet."""
    check = CertificateCheck()
    check.set_revoked(["2", "ff"])

    reason = check.refusal(Identity(Usage.DEFENDER, "d", serial, expires, begins), NOW)

    assert (words in reason) if words and reason else (reason is words)


class Connection:
    """A connection with a certificate."""

    def __init__(self, serial: int, *, established: bool = False) -> None:
        self.identity = Identity(Usage.DEFENDER, "d", serial, NOW)
        self.is_established = established
        self.reason = ""

    def abort(self, reason: str) -> None:
        """Close."""
        self.reason = reason


def test_the_oldest_without_a_hello_goes() -> None:
    """The one in use stays until the new one has said hello."""
    limit = ConnectionsPerCertificate(3)
    used, dead, newer = Connection(1, established=True), Connection(1), Connection(1)
    other, newest = Connection(2), Connection(1)
    for each in (used, dead, newer, other, newest):
        limit.add(each)

    assert [bool(each.reason) for each in (used, dead, newer, other, newest)] == [
        *(False, True, False, False, False)
    ]


def test_the_oldest_goes_where_all_said_hello() -> None:
    """The new one always gets in."""
    limit = ConnectionsPerCertificate(2)
    connections = [Connection(1, established=True) for _ in range(3)]
    for each in connections:
        limit.add(each)

    assert [bool(each.reason) for each in connections] == [True, False, False]


def test_an_ended_connection_is_not_counted() -> None:
    """Nor is one that was closed for another."""
    limit = ConnectionsPerCertificate(2)
    first, second, third = Connection(1), Connection(1), Connection(1)
    for each in (first, second):
        limit.add(each)
        limit.discard(each)
        limit.discard(each)
    limit.add(third)
    limit.add(Connection(1))

    assert not third.reason
