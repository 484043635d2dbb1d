"""Reads back, over the API, which of the writer's writes the Console has stored."""

import re

from tests.hosts.cluster import Cluster

PAGE = 50
_STORED = re.compile(r'^\+.*"sessionTimeoutSec": (\d+)', re.MULTILINE)


def stored_ops(cluster: Cluster, address: str, first: int) -> list[int]:
    """The numbers from *first* on in the audit trail, each as often as it is there.

    The trail is read backwards, until a page has none of them: where clocks are
    stepped it is not in order, and all of it is read. Call it when nobody writes.
    """
    ordered = not any(node.clock for node in cluster.nodes.values())
    found: list[int] = []
    offset = 0
    while True:
        path = f"/audits/mgmt?limit={PAGE}&offset={offset}"
        page = cluster.api.call(address, "GET", path)
        numbers = [
            int(number)
            for entry in page
            for number in _STORED.findall(entry["diff"])
            if int(number) >= first
        ]
        if not page or (ordered and not numbers):
            return found
        found += numbers
        offset += PAGE
