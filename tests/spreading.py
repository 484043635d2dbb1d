"""Spreads the tests over several workers: which stay together, and which begin."""

import pytest

#: These share nothing, and are long enough to be worth a group each.
SINGLE = ("tests/simulation/",)
#: What takes minutes to make, and is shared by the tests of several files.
SHARED = "formed"


def spread(items: list[pytest.Item]) -> None:
    """Put *items* in order and name the group of each, alike in every worker.

    The tests of a file stay together, for they share what they start. Those that judge
    times are one group: no two of them disturb each other. What starts whole clusters
    goes first, so that nothing long is left for the end.
    """
    items.sort(key=_turn)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("timed"):
        return 0
    root = (needs.kwargs.get("root") for needs in item.iter_markers("needs"))
    return 1 if any(root) else 2


def _group(item: pytest.Item) -> str:
    if item.get_closest_marker("timed"):
        return "timed"
    if SHARED in getattr(item, "fixturenames", ()):
        return SHARED
    if item.nodeid.startswith(SINGLE):
        return item.nodeid
    return item.nodeid.partition("::")[0]
