"""Metrics over the API, in Prometheus' text format."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from twistlock_console.accounts.rights import Areas
from twistlock_console.alerts.settings import LoggingSettings, read
from twistlock_console.web.actions.monitoring import exposition
from twistlock_console.web.common.database import database
from twistlock_console.web.common.errors import answer
from twistlock_console.web.openapi.api_call import ApiCall
from twistlock_console.web.security.guards import api_guard

bp = Blueprint("api_metrics", __name__)
api_guard(bp, Areas.METRICS)

OFF = "metrics are switched off; switch them on under Manage > Alerts > Logging"


@bp.get("/metrics")
@ApiCall(media="text/plain", raises=(404,))
def metrics() -> ResponseReturnValue:
    """Give the metrics, if they are switched on."""
    if not read(database(), LoggingSettings).enable_metrics_collection:
        return answer(404, OFF)
    return Response(exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
