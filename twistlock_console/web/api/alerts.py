"""Alerts and logging over the API: the settings, and a test."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas, may
from twistlock_console.alerts.settings import AlertSettings, LoggingSettings, read
from twistlock_console.web.actions.alerts import (
    change_alerts,
    change_logging,
    read_alerts,
    send_test,
    shown,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import ApiCall, json_body
from twistlock_console.web.security.guards import api_guard
from twistlock_console.web.security.sessions import current_user

bp = Blueprint("api_alerts", __name__)
api_guard(bp, Areas.ALERTS)


@bp.get("/settings/alerts")
@ApiCall(answer=AlertSettings)
def alerts() -> ResponseReturnValue:
    """Show where alerts are posted to and what of, without secrets.

    Of the webhook's address the host alone is shown, and the secret is sealed or
    hidden. What is shown can be sent back: then the secrets stay as they are.
    """
    allowed = may(current_user().role, Areas.ALERTS, change=True)
    return jsonify(shown(read_alerts(may_change=allowed)))


@bp.post("/settings/alerts")
@ApiCall(body=AlertSettings)
def set_alerts() -> ResponseReturnValue:
    """Replace the settings of alerts; what is left out goes back to its default."""
    change_alerts(json_body(AlertSettings))
    return "", 200


@bp.post("/settings/alerts/test")
@ApiCall()
def test_alerts() -> ResponseReturnValue:
    """Send a test alert, now, wherever the stored settings say.

    Every channel is tried. If one fails, the sentence says what became of each.
    """
    send_test()
    return "", 200


@bp.get("/settings/logging")
@ApiCall(answer=LoggingSettings)
def logging() -> ResponseReturnValue:
    """Show whether alerts go to syslog, and whether metrics are given."""
    return jsonify(read(database(), LoggingSettings).model_dump(by_alias=True))


@bp.post("/settings/logging")
@ApiCall(body=LoggingSettings)
def set_logging() -> ResponseReturnValue:
    """Replace them; what is left out goes back to its default."""
    change_logging(json_body(LoggingSettings))
    return "", 200
