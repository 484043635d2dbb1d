"""Call the node process of this host from the web process, over the node API."""

from typing import cast

from flask import Flask, current_app

from plugins.ha.messages import (
    ClusterResponse,
    MetricsResponse,
    NewTokenResponse,
    OpenTokenResponse,
    TokenOwnerBody,
)
from twistlock_console.audit.trail import AuditType
from twistlock_console.node_api.client import NodeClient
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.settings import Settings
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.security.sessions import current_username

EXTENSION = "ha_node_client"


def settings() -> Settings:
    """Return the settings of this node."""
    return cast(Settings, current_app.extensions["settings"])


def _client(app: Flask) -> NodeClient:
    # Created when a process first needs it, after its server forked.
    if EXTENSION not in app.extensions:
        own = cast(Settings, app.extensions["settings"])
        app.extensions[EXTENSION] = NodeClient(own, own.node_address)
    return cast(NodeClient, app.extensions[EXTENSION])


def get_cluster() -> ClusterResponse:
    """Return the present view of the cluster; raises NodeUnreachable."""
    return ClusterResponse.from_answer(_client(current_app).get("/v1/ha/cluster"))


def get_metrics() -> str:
    """Return this node's metrics in Prometheus' text format; raises NodeUnreachable."""
    answer = _client(current_app).get("/v1/ha/metrics")
    return MetricsResponse.from_answer(answer).text


def list_tokens() -> list[OpenTokenResponse]:
    """List the valid join tokens."""
    answer = _client(current_app).get("/v1/ha/join-tokens")
    return [OpenTokenResponse.from_answer(each) for each in answer]


def call(path: str, body: NodeMessage) -> object:
    """Send *body* without an audit record; raises Refused."""
    return _client(current_app).post(f"/v1/ha/{path}", body.as_json())


def make_join_token() -> NewTokenResponse:
    """Create a join token for the present user."""
    body = TokenOwnerBody(by=current_username())
    return NewTokenResponse.from_answer(
        call_audited("join-token", body, "made a join token")
    )


def call_audited(path: str, body: NodeMessage, action: str) -> object:
    """Send *body* for the present user, and write *action* to the audit trail."""
    with audited(AuditType.CLUSTER, action):
        return call(path, body)
