"""Spreads the tests over several workers: which stay together, and which begin.

A plugin of pytest: `-p tests.spreading -n 2`.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

#: Stay on one worker, and begin. They share what took long to make, or start clusters
#: of three nodes: two of those at a time keep two cores so busy that they fail over.
TOGETHER = (
    "tests/system/join/",
    "tests/system/backups/test_disaster.py",
    "tests/system/browser/",
    "tests/system/cluster/test_from_an_earlier_release.py",
    "tests/system/cluster/test_life_of_a_cluster.py",
    "tests/system/demo/",
)
#: These share nothing, and are long enough to go their own ways.
SINGLE = ("tests/unit/simulation/",)


class Spreading(LoadScopeScheduling):
    """Gives a worker a whole group of tests at a time: mostly, those of a file."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Name the group of a test."""
    if nodeid.startswith(TOGETHER):
        return "together"
    return nodeid if nodeid.startswith(SINGLE) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading:
    """Have the groups given out as they are here."""
    return Spreading(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what is longest begin: nothing long is left for the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(TOGETHER):
        return 0
    root = (needs.kwargs.get("root") for needs in item.iter_markers("needs"))
    return 1 if any(root) else 2
