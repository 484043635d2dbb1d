"""Answers of the node API to test with: a cluster, its nodes and its history."""

from collections.abc import Iterable
from typing import Any

from plugins.ha.messages import ClusterResponse, NodeResponse, RoleChangeResponse


def node(address: str, state: str, **changes: Any) -> NodeResponse:
    """A node of the cluster, *changes* by the names that JSON has."""
    shown = {
        "address": address,
        "state": state,
        "self": False,
        "version": "1",
        "lagSeconds": None,
        "lastSeen": None,
        "reason": "why",
        "fingerprint": None,
    }
    return NodeResponse.model_validate({**shown, **changes})


def role_change(address: str, to: str, **changes: Any) -> RoleChangeResponse:
    """A record of the history, *changes* by the names that JSON has."""
    shown = {
        "time": "2026-11-01T12:00:00.000+00:00",
        "address": address,
        "from": "standby" if to == "primary" else "primary",
        "to": to,
        "reason": "why",
        "epoch": 7,
        "phases": {},
    }
    return RoleChangeResponse.model_validate({**shown, **changes})


def cluster(
    nodes: Iterable[NodeResponse],
    history: Iterable[RoleChangeResponse] = (),
    primary: str | None = None,
) -> ClusterResponse:
    """The cluster in epoch 7, in which one node may fail."""
    return ClusterResponse(
        enabled=True,
        epoch=7,
        primary=primary,
        apply_ready=False,
        apply_reason="no host waits",
        failures_survived=1,
        nodes=list(nodes),
        history=list(history),
    )
