"""The REST API under /api/v1."""

from flask import Flask

from twistlock_console.web.api import (
    audits,
    entry,
    logs,
    openapi,
    session,
    settings,
    users,
    version,
)

PREFIX = "/api/v1"


def init_app(app: Flask) -> None:
    """Register all of the API's blueprints."""
    for part in (entry, session, settings, users, audits, logs, version, openapi):
        app.register_blueprint(part.bp, url_prefix=PREFIX)
