"""Whether a switchover would work now, and to whom it goes."""

import pytest

from plugins.ha.consensus.state import Observation
from plugins.ha.consensus.switchover import (
    best_candidate,
    refusal_reason,
    remaining_secondary,
)
from tests.ha.observations import ME, MS, NOW, OTHER, THIRD, holder, peer

LAGGING = peer(OTHER, optime=(89, 1))
SILENT = peer(OTHER, heard_at=NOW - 701 * MS)


@pytest.mark.parametrize(
    ("observation", "target", "refusal"),
    [
        pytest.param(holder(), OTHER, None, id="fit"),
        pytest.param(holder(), None, None, id="any"),
        pytest.param(
            holder(peers=(SILENT, peer(THIRD))), None, None, id="one-of-two-is-fit"
        ),
        pytest.param(holder(), ME, "10.0.0.1 is the primary already.", id="to-itself"),
        pytest.param(
            holder(),
            "10.0.0.9",
            "No node of this cluster has the address 10.0.0.9.",
            id="stranger",
        ),
        pytest.param(
            holder(peers=()),
            None,
            "There is no other node to switch over to.",
            id="alone",
        ),
        pytest.param(
            holder(peers=(SILENT,)), None, "10.0.0.2 is out of reach.", id="none-fit"
        ),
        pytest.param(
            holder(peers=(SILENT,)), OTHER, "10.0.0.2 is out of reach.", id="silent"
        ),
        pytest.param(
            holder(peers=(peer(OTHER, refused=True),)),
            OTHER,
            "10.0.0.2 is out of reach.",
            id="refused",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, state="STARTUP2"),)),
            OTHER,
            "10.0.0.2 is STARTUP2, not SECONDARY.",
            id="copying",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, database_problem="its disk is full"),)),
            OTHER,
            "The database of 10.0.0.2 does not run: its disk is full.",
            id="no-database",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, in_cooldown=True),)),
            OTHER,
            "10.0.0.2 is in cooldown after a failure of its own.",
            id="cooldown",
        ),
        pytest.param(
            holder(peers=(peer(OTHER, optime=(90, 1)),)),
            OTHER,
            None,
            id="ten-seconds-behind-catches-up",
        ),
        pytest.param(
            holder(peers=(LAGGING,)), OTHER, "10.0.0.2 lags 11 s behind.", id="lagging"
        ),
    ],
)
def test_a_switchover_that_would_fail_is_refused_with_the_reason(
    observation: Observation, target: str | None, refusal: str | None
) -> None:
    """Before the primary closes anything."""
    assert refusal_reason(observation, target, NOW) == refusal


@pytest.mark.parametrize(
    ("observation", "heir"),
    [
        pytest.param(holder(), OTHER, id="lowest-number"),
        pytest.param(
            holder(peers=(peer(), peer(THIRD, optime=(100, 2)))),
            THIRD,
            id="most-recent",
        ),
        pytest.param(
            holder(peers=(peer(optime=(98, 9)), peer(THIRD, optime=(99, 1)))),
            THIRD,
            id="more-recent-by-a-second",
        ),
        pytest.param(holder(peers=(SILENT, peer(THIRD))), THIRD, id="in-reach"),
        pytest.param(holder(peers=(SILENT,)), None, id="nobody"),
    ],
)
def test_the_best_standby_is_the_heir(
    observation: Observation, heir: str | None
) -> None:
    """The most recent oplog, then the lowest number."""
    assert best_candidate(observation, NOW) == heir


def test_a_third_node_that_rests_follows_all_the_same() -> None:
    """It may not serve for a while; its vote and its oplog are as good as any."""
    cooling = peer(THIRD, in_cooldown=True)
    assert (
        remaining_secondary(holder(peers=(peer(OTHER), cooling)), OTHER, NOW) == THIRD
    )


def test_the_third_node_follows_if_it_is_fit() -> None:
    """It makes the majority with the next primary."""
    assert remaining_secondary(holder(), OTHER, NOW) == THIRD
    assert remaining_secondary(holder(peers=(SILENT, peer(THIRD))), THIRD, NOW) is None
