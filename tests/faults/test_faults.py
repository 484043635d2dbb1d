"""Each fault of the chosen few, on three real nodes with users at work."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.faults.play import play
from tests.faults.scenario import Scenario
from tests.faults.scenarios import CHOSEN
from tests.faults.table import told
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory

pytestmark = [
    pytest.mark.needs("ip", "iptables", "nsenter", "unshare", root=True),
    pytest.mark.timed,
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, formed once: each scenario leaves them whole."""
    with Laboratory(tmp_path_factory.mktemp("faults")) as laboratory:
        formed = Cluster(laboratory)
        formed.form()
        yield formed


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
