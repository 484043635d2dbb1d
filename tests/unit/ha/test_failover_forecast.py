"""Who would take over now, and why not."""

import pytest

from plugins.ha.consensus.state import Observation
from plugins.ha.consensus.switchover import failover_forecast
from tests.ha.observations import ME, MS, NOW, OTHER, THIRD, holder, peer, standby

SILENT = peer(OTHER, heard_at=NOW - 701 * MS)
BEHIND = peer(OTHER, optime=(89, 1))
COPYING = peer(OTHER, state="STARTUP2")
RESTS = peer(OTHER, in_cooldown=True)
NO_MAJORITY = "would not take over: without the primary there is no majority"


@pytest.mark.parametrize(
    ("observation", "address", "forecast"),
    [
        pytest.param(holder(), OTHER, "would take over first", id="first"),
        pytest.param(
            holder(), THIRD, "would take over if 10.0.0.2 did not", id="second"
        ),
        pytest.param(standby(), ME, "would take over first", id="ourselves"),
        pytest.param(
            standby(member=None),
            ME,
            "would not take over: its database is UNKNOWN",
            id="no-database",
        ),
        pytest.param(
            holder(peers=(SILENT, peer(THIRD))),
            OTHER,
            "would not take over: it is out of reach",
            id="silent",
        ),
        pytest.param(
            holder(peers=(BEHIND, peer(THIRD))),
            OTHER,
            "would not take over: it lags 11 s behind",
            id="behind",
        ),
        pytest.param(
            holder(peers=(COPYING, peer(THIRD))),
            OTHER,
            "would not take over: its database is STARTUP2",
            id="copying",
        ),
        pytest.param(
            holder(peers=(RESTS, peer(THIRD))),
            OTHER,
            "would not take over: it is in cooldown after it gave up the role, or "
            "failed",
            id="cooldown",
        ),
        pytest.param(
            holder(
                peers=(
                    peer(OTHER, state="DOWN", database_problem="its disk is full"),
                    peer(THIRD),
                )
            ),
            OTHER,
            "would not take over: its database does not run",
            id="database-has-a-problem",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, optime=(90, 9)), peer(THIRD, optime=(90, 8)))),
            OTHER,
            "would take over first",
            id="ten-seconds-behind",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, optime=(98, 9)), peer(THIRD, optime=(99, 1)))),
            OTHER,
            "would take over if 10.0.0.3 did not",
            id="the-other-is-more-recent-by-a-second",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, optime=(99, 1)), peer(THIRD, optime=(99, 2)))),
            OTHER,
            "would take over if 10.0.0.3 did not",
            id="the-other-is-more-recent-within-a-second",
        ),
        pytest.param(
            standby(cooldown_until=NOW + 1),
            ME,
            "would not take over: it is in cooldown after it gave up the role, or "
            "failed",
            id="we-rest",
        ),
        pytest.param(
            standby(cooldown_until=NOW),
            ME,
            "would take over first",
            id="we-have-rested",
        ),
        pytest.param(
            holder(),
            "10.0.0.9",
            "would not take over: it is not a member yet",
            id="stranger",
        ),
    ],
)
def test_each_standby_has_its_failover_forecast(
    observation: Observation, address: str, forecast: str
) -> None:
    """The page shows before a failure whether a node would take over."""
    assert failover_forecast(observation, address, 1, NOW) == forecast


def test_without_a_majority_nobody_takes_over() -> None:
    """Two nodes are both needed."""
    assert failover_forecast(holder(), OTHER, 0, NOW) == NO_MAJORITY
