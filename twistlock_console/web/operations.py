"""What those who operate the Console use: alerts, logging, metrics, names."""

from flask import Flask

from twistlock_console.web.actions import monitoring
from twistlock_console.web.api import PREFIX
from twistlock_console.web.api import alerts as api_alerts
from twistlock_console.web.api import metrics as api_metrics
from twistlock_console.web.api import names as api_names
from twistlock_console.web.pages import alerts, names
from twistlock_console.web.ui.layout import add_tab


def init_app(app: Flask) -> None:
    """Register the pages and their tabs, and the API."""
    monitoring.init_app(app)
    for page in (alerts, names):
        app.register_blueprint(page.bp)
    for part in (api_alerts, api_metrics, api_names):
        app.register_blueprint(part.bp, url_prefix=PREFIX)
    add_tab(app, "Manage / Defenders", "Names", "names.listed")
    add_tab(app, "Manage / Alerts", "Alerts", "alerts.settings")
    add_tab(app, "Manage / Alerts", "Logging", "alerts.logging")
