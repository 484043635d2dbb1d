"""Spreads the tests over several workers: which stay together, and which begin."""

import pytest
from xdist.scheduler import LoadScopeScheduling

#: What is in these folders and files stays on one worker each: it judges times, and
#: must not disturb its like, or shares what took long to make.
TOGETHER = {
    "timed": (
        "tests/faults/",
        "tests/load_balancer/",
        "tests/defender/test_agent.py",
        "tests/defender/test_in_a_cluster.py",
    ),
    "formed": ("tests/join/",),
}
#: These share nothing, and are long enough to go their own ways.
SINGLE = ("tests/simulation/",)


class Spreading(LoadScopeScheduling):
    """Gives a worker a whole group of tests at a time: mostly, those of a file."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """Name the group of a test."""
    for name, places in TOGETHER.items():
        if nodeid.startswith(places):
            return name
    return nodeid if nodeid.startswith(SINGLE) else nodeid.partition("::")[0]


def put_in_order(items: list[pytest.Item]) -> None:
    """Have what starts whole clusters begin: nothing long is left for the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(TOGETHER["timed"]):
        return 0
    if item.nodeid.startswith(TOGETHER["formed"]):
        return 1
    root = (needs.kwargs.get("root") for needs in item.iter_markers("needs"))
    return 2 if any(root) else 3
