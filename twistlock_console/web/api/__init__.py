"""The REST API under /api/v1."""

from flask import Flask

from twistlock_console.web.api import (
    audits,
    backups,
    defender_audits,
    defenders,
    deployment,
    entry,
    logs,
    openapi,
    policies,
    session,
    settings,
    users,
    version,
)

PREFIX = "/api/v1"


def init_app(app: Flask) -> None:
    """Register all of the API's blueprints."""
    console = (entry, session, settings, users, audits, logs, version, openapi)
    for part in (*console, defenders, defender_audits, policies, deployment):
        app.register_blueprint(part.bp, url_prefix=PREFIX)
    for bp in (backups.bp, backups.files):
        app.register_blueprint(bp, url_prefix=PREFIX)
