"""The problems of a cluster: nodes out of reach, members behind, certificates."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plugins.ha.alert_kinds import MEMBER_LAG, NODE_LOST
from plugins.ha.replication.member_state import NodeState
from twistlock_console.alerts.rules import Kind, Problem
from twistlock_console.alerts.settings import AlertSettings
from twistlock_console.alerts.sources import certificate_problems
from twistlock_console.alerts.store import Store
from twistlock_console.alerts.watch import Source
from twistlock_console.node_api.client import NodeClient


def cluster_sources(
    view: Callable[[], Mapping[str, Any]], client_of: Callable[[str], NodeClient]
) -> list[Source]:
    """Return the sources of the serving node.

    *view* returns the cluster as this node sees it, *client_of* a client of the node
    API at an address.
    """

    def cluster(database: Store, settings: AlertSettings) -> Iterable[Problem]:
        del database
        return problems_in(view(), settings.threshold(MEMBER_LAG))

    def certificates(database: Store, settings: AlertSettings) -> Iterable[Problem]:
        del database, settings
        for node in view()["nodes"]:
            if not node["self"] and node["state"] != NodeState.REQUEST_JOIN:
                yield from _certificate(client_of, node["address"])

    return [
        Source(frozenset({NODE_LOST.name, MEMBER_LAG.name}), cluster),
        Source(frozenset({Kind.CERTIFICATE_END}), certificates),
    ]


def problems_in(view: Mapping[str, Any], most_lag: float) -> Iterable[Problem]:
    """What is wrong in the cluster's *view*, if a member may lag *most_lag* seconds."""
    for node in view["nodes"]:
        address, lag = node["address"], node["lagSeconds"]
        if node["state"] == NodeState.UNAVAILABLE:
            sentence = f"the node {address} is lost: {node['reason']}"
            yield Problem(NODE_LOST.name, address, sentence)
        elif lag is not None and lag > most_lag:
            sentence = f"the database of {address} is {lag:.0f} s behind"
            yield Problem(MEMBER_LAG.name, address, sentence)


def _certificate(
    client_of: Callable[[str], NodeClient], address: str
) -> Iterable[Problem]:
    with client_of(address) as client:
        return certificate_problems(address, client.get("/v1/status")["failing"])
