"""Each fault of the chosen few, on three real nodes with users at work."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.faults.play import play
from tests.faults.scenario import Scenario
from tests.faults.scenarios import CHOSEN
from tests.faults.table import told
from tests.hosts.cluster import Cluster

pytestmark = [
    pytest.mark.needs("ip", "iptables", "nsenter", "unshare", root=True),
    pytest.mark.timed,
]


@pytest.fixture
def cluster(timed_cluster: Cluster) -> Cluster:
    """Three nodes, which other tests use too."""
    return timed_cluster


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """A number for every play on the cluster."""
    return count()


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_no_rule_is_broken(
    scenario: Scenario,
    cluster: Cluster,
    numbers: Iterator[int],
    record_property: Callable[[str, object], None],
) -> None:
    """One node at most serves, one soon does, and nothing acknowledged is lost."""
    result = play(cluster, scenario, numbers)
    record_property("told", told(result))

    assert result.broken == []
