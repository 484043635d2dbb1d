"""This node's brain, as the web process reaches it: over the local node API."""

from typing import Any, cast

from flask import Flask, current_app

from twistlock_console.audit.trail import AuditType
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.security.sessions import current_username

EXTENSION = "ha_brain"


def settings() -> Settings:
    """The settings of the node that this page comes from."""
    return cast(Settings, current_app.extensions["settings"])


def _client(app: Flask) -> NodeClient:
    # Made when a process first needs it, after its server forked.
    if EXTENSION not in app.extensions:
        own = cast(Settings, app.extensions["settings"])
        app.extensions[EXTENSION] = NodeClient(own, own.node_address)
    return cast(NodeClient, app.extensions[EXTENSION])


def look() -> dict[str, Any]:
    """The cluster now; raises NodeUnreachable when the brain does not answer."""
    return cast(dict[str, Any], _client(current_app).get("/v1/ha/cluster"))


def measured() -> str:
    """What the brain measured, as Prometheus' text; raises NodeUnreachable."""
    return str(_client(current_app).get("/v1/ha/metrics")["text"])


def tokens() -> list[dict[str, Any]]:
    """The join tokens that can still be used."""
    return cast(list[dict[str, Any]], _client(current_app).get("/v1/ha/join-tokens"))


def ask(path: str, body: object = None) -> Any:
    """Have the brain do something for nobody in particular; raises Refused."""
    return _client(current_app).post(f"/v1/ha/{path}", body or {})


def order_join_token() -> dict[str, Any]:
    """Have a join token made for the present user."""
    body = {"by": current_username()}
    return cast(dict[str, Any], order("join-token", body, "made a join token"))


def order(path: str, body: object, told: str) -> Any:
    """Have the brain do something for the present user; it is put on record."""
    with recorded(AuditType.CLUSTER, told):
        return ask(path, body)
