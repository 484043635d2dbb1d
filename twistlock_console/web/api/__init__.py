"""The REST API under /api/v1."""

from flask import Flask

from twistlock_console.web.actions import monitoring
from twistlock_console.web.api import accounts, backups, defenders, deployment, system

PREFIX = "/api/v1"


def init_app(app: Flask) -> None:
    """Register the blueprints of the API, its metrics and the count of its requests."""
    monitoring.init_app(app)
    for part in (accounts, defenders, deployment, backups, system):
        for bp in part.BLUEPRINTS:
            app.register_blueprint(bp, url_prefix=PREFIX)
