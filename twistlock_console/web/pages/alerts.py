"""Manage > Alerts: channels and triggers of alerts, syslog, metrics."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.alerts import store
from twistlock_console.alerts.kinds import Threshold, alert_kinds
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    read_settings,
)
from twistlock_console.common.errors import Refused
from twistlock_console.web.actions.alerts import (
    TestFailed,
    change_alerts,
    change_logging,
    read_alerts,
    send_test,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.api_call import read_form
from twistlock_console.web.security.guards import guard_pages, may_change

bp = Blueprint("alerts", __name__, url_prefix="/manage/alerts")
guard_pages(bp, Areas.ALERTS)
BLUEPRINTS = (bp,)

LOGGING_FIELDS = {"syslog.addr": "Address", "syslog.format": "Format"}


@bp.get("/alerts")
def settings() -> ResponseReturnValue:
    """Show the settings of alerts and the open problems."""
    return _alerts_page()


@bp.post("/alerts")
def set_settings() -> ResponseReturnValue:
    """Store the settings of alerts."""
    try:
        wanted = read_form(AlertSettings, _alert_fields(), _alert_labels())
        change_alerts(wanted)
    except Refused as error:
        return _alerts_page(str(error)), 400
    state = "on" if wanted.webhook.enabled else "off"
    flash(f"The settings of alerts are saved. The webhook is {state}.")
    return redirect(url_for(".settings"), 303)


@bp.post("/test")
def test() -> ResponseReturnValue:
    """Send a test alert to each channel and show the results."""
    try:
        results = send_test()
    except TestFailed as error:
        results = error.results
    except Refused as error:
        flash(str(error), "error")
        results = []
    for each in results:
        flash(each.sentence, "error" if each.has_failed else "message")
    return redirect(url_for(".settings"), 303)


@bp.get("/logging")
def logging() -> ResponseReturnValue:
    """Show the settings of syslog and metrics."""
    return _logging_page()


@bp.post("/logging")
def set_logging() -> ResponseReturnValue:
    """Store the settings of syslog and metrics."""
    sent = request.form
    syslog = {
        "enabled": "enabled" in sent,
        "addr": sent.get("addr", ""),
        "format": sent.get("format", ""),
    }
    fields = {"syslog": syslog, "enableMetricsCollection": "metrics" in sent}
    try:
        wanted = read_form(LoggingSettings, fields, LOGGING_FIELDS)
        change_logging(wanted)
    except Refused as error:
        return _logging_page(str(error)), 400
    syslog_state = "on" if wanted.syslog.enabled else "off"
    metrics = "on" if wanted.enable_metrics_collection else "off"
    flash(
        f"The logging settings are saved. Syslog is {syslog_state}, metrics are "
        f"{metrics}."
    )
    return redirect(url_for(".logging"), 303)


def _alerts_page(error: str = "") -> str:
    records = store.read_records(database()).values()
    alerts = read_alerts(may_change=may_change("alerts"))
    return render_template(
        "alerts.html",
        alerts=alerts,
        triggers=alerts.switches(),
        kinds=alert_kinds(),
        thresholds={
            kind.threshold.name: alerts.threshold(kind)
            for kind in alert_kinds()
            if kind.threshold
        },
        open=sorted(t.problem.sentence for t in records if t.is_open),
        waiting=database()[store.QUEUE].estimated_document_count(),
        error=error,
    )


def _logging_page(error: str = "") -> str:
    stored = read_settings(database(), LoggingSettings)
    return render_template("logging.html", logging=stored, error=error)


def _alert_fields() -> dict[str, object]:
    """Return the fields of the form; an empty secret keeps the stored one."""
    sent = request.form
    kinds = alert_kinds()
    return {
        "webhook": {
            "enabled": "enabled" in sent,
            "url": sent.get("url", "").strip(),
            "secret": _secret_field(sent.get("secret", "")),
        },
        "triggers": {kind.name: kind.name in sent for kind in kinds},
        **{
            k.threshold.name: _parse_threshold(k.threshold)
            for k in kinds
            if k.threshold
        },
    }


def _alert_labels() -> dict[str, str]:
    """Return the labels of the page by the paths of members of the settings."""
    thresholds = [kind.threshold for kind in alert_kinds() if kind.threshold]
    return {
        "webhook.url": "Address",
        "webhook.secret": "Secret",
        **{threshold.name: threshold.label for threshold in thresholds},
    }


def _secret_field(plain: str) -> dict[str, str]:
    if plain:
        return {"plain": plain}
    return {
        "encrypted": read_settings(database(), AlertSettings).webhook.secret.encrypted
    }


def _parse_threshold(threshold: Threshold) -> int:
    text = request.form.get(threshold.name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise Refused(f"{threshold.label}: enter a whole number")
    return int(text)
