"""Rules of the sentence that a page shows after a failover."""

from plugins.ha.messages import RoleChangeResponse
from plugins.ha.web.timeline import failover_sentence, latest_failover
from tests.ha.messages import role_change


def record(address: str, to: str, second: int, reason: str = "") -> RoleChangeResponse:
    time = f"2026-11-24T09:31:{second:02}.000+00:00"
    return role_change(address, to, time=time, reason=reason)


def test_a_failover_is_described_with_both_nodes_time_and_reason() -> None:
    """The banner alone explains the failover."""
    history = [
        record("10.0.0.2", "primary", 9, "10.0.0.1 is silent"),
        record("10.0.0.3", "standby", 8),
        record("10.0.0.1", "primary", 2),
    ]

    assert failover_sentence(history) == (
        "10.0.0.2 took over from 10.0.0.1 at 09:31:09 UTC on 2026-11-24: 10.0.0.1 is "
        "silent. You stay logged in, and what was saved is kept"
    )
    assert latest_failover(history) == history[0]


def test_the_same_node_may_serve_again() -> None:
    """A node whose servers ended and came back took over from no other node."""
    history = [record("10.0.0.1", "primary", 9), record("10.0.0.1", "primary", 2)]

    assert str(failover_sentence(history)).startswith(
        "10.0.0.1 serves again since 09:31:09 UTC"
    )


def test_a_first_start_shows_no_banner() -> None:
    """Without a former primary there was no failover, and there is no banner."""
    assert failover_sentence([record("10.0.0.1", "primary", 2)]) is None
    assert failover_sentence([]) is None
    assert latest_failover([record("10.0.0.1", "standby", 1)]) is None
