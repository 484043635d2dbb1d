"""The Console itself over the API: alerts, metrics, log, version, openapi.json."""

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from twistlock_console import __version__
from twistlock_console.accounts.rights import Areas, may
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    read_settings,
)
from twistlock_console.logs.reader import LogLine
from twistlock_console.web.actions.alerts import (
    change_alerts,
    change_logging,
    read_alerts,
    send_test,
    settings_response,
)
from twistlock_console.web.actions.monitoring import (
    LinesQuery,
    read_requested_lines,
    render_metrics,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import error_response
from twistlock_console.web.openapi.api_call import ApiCall, read_json_body
from twistlock_console.web.openapi.document import api_document
from twistlock_console.web.security.guards import guard_api
from twistlock_console.web.security.sessions import current_user

alerts_bp = Blueprint("api_alerts", __name__)
guard_api(alerts_bp, Areas.ALERTS)
metrics_bp = Blueprint("api_metrics", __name__)
guard_api(metrics_bp, Areas.METRICS)
logs_bp = Blueprint("api_logs", __name__)
guard_api(logs_bp, Areas.SYSTEM)
version_bp = Blueprint("api_version", __name__)
guard_api(version_bp, Areas.OWN_ACCOUNT)
description_bp = Blueprint("api_description", __name__)
guard_api(description_bp, Areas.OWN_ACCOUNT)
BLUEPRINTS = (alerts_bp, metrics_bp, logs_bp, version_bp, description_bp)

METRICS_OFF = "metrics are switched off; switch them on under Manage > Alerts > Logging"


@alerts_bp.get("/settings/alerts")
@ApiCall(answer=AlertSettings)
def alerts() -> ResponseReturnValue:
    """Return the settings of alerts, without secrets.

    Of the webhook's address, only the host is given; the secret is encrypted or hidden.
    The answer can be sent back as it is: then the secrets stay as they are.
    """
    allowed = may(current_user().role, Areas.ALERTS, change=True)
    return jsonify(settings_response(read_alerts(may_change=allowed)))


@alerts_bp.post("/settings/alerts")
@ApiCall(body=AlertSettings)
def set_alerts() -> ResponseReturnValue:
    """Replace the settings of alerts; a field left out gets its default."""
    change_alerts(read_json_body(AlertSettings))
    return "", 200


@alerts_bp.post("/settings/alerts/test")
@ApiCall()
def test_alerts() -> ResponseReturnValue:
    """Send a test alert to every channel of the stored settings.

    If a channel fails, the error has the result of each.
    """
    send_test()
    return "", 200


@alerts_bp.get("/settings/logging")
@ApiCall(answer=LoggingSettings)
def logging() -> ResponseReturnValue:
    """Return the settings of syslog and metrics."""
    return jsonify(read_settings(database(), LoggingSettings).model_dump(by_alias=True))


@alerts_bp.post("/settings/logging")
@ApiCall(body=LoggingSettings)
def set_logging() -> ResponseReturnValue:
    """Replace the settings of syslog and metrics; a field left out gets its default."""
    change_logging(read_json_body(LoggingSettings))
    return "", 200


@metrics_bp.get("/metrics")
@ApiCall(media="text/plain", raises=(404,))
def metrics() -> ResponseReturnValue:
    """Return the metrics for Prometheus, if they are switched on."""
    if not read_settings(database(), LoggingSettings).enable_metrics_collection:
        return error_response(404, METRICS_OFF)
    return Response(render_metrics(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@logs_bp.get("/logs/console")
@ApiCall(query=LinesQuery, answer=list[LogLine])
def console() -> ResponseReturnValue:
    """Return the latest lines of this node's log, the oldest first."""
    return jsonify([line.to_json() for line in read_requested_lines(request.args)])


@version_bp.get("/version")
@ApiCall(answer=str)
def version() -> ResponseReturnValue:
    """Return the version as a JSON string."""
    return jsonify(__version__)


@description_bp.get("/openapi.json")
@ApiCall(answer=dict[str, object])
def openapi() -> ResponseReturnValue:
    """Return the OpenAPI 3.1 document of this API."""
    return jsonify(api_document())
