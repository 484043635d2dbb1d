"""The Console's own pages, registered with their places in the navigation."""

from flask import Flask

from twistlock_console.web.pages import (
    api,
    backups,
    compliance,
    defenders,
    deploy,
    events,
    history,
    host_policy,
    login,
    logon,
    logs,
    preferences,
    profile,
    system,
    users,
)
from twistlock_console.web.ui import layout
from twistlock_console.web.ui.layout import add_system_tab, add_tab


def init_app(app: Flask) -> None:
    """Register the pages and their tabs."""
    own = (login, profile, preferences, history, logs, users, logon, system, api)
    room = (host_policy, events, compliance, defenders, deploy)
    for part in (*own, *room, backups):
        app.register_blueprint(part.bp)
    app.register_blueprint(backups.files)
    layout.init_app(app)
    add_tab(app, "Defend / Runtime", "Host policy", "host_policy.rules")
    add_tab(app, "Monitor / Events", "Host audits", "events.host")
    add_tab(app, "Monitor / Events", "File integrity", "events.files")
    add_tab(app, "Monitor / Events", "Defenders' trouble", "events.troubles")
    add_tab(app, "Monitor / Compliance", "Hosts", "compliance.hosts")
    add_tab(app, "Manage / Defenders", "Manage", "defenders.listed")
    add_tab(app, "Manage / Defenders", "Deploy", "deploy.choose")
    add_tab(app, "Manage / Defenders", "Advanced", "defenders.settings")
    add_tab(app, "Manage / View Logs", "History", "history.trail")
    add_tab(app, "Manage / View Logs", "Console", "logs.console")
    add_tab(app, "Manage / Authentication", "Users", "users.listed")
    add_tab(app, "Manage / Authentication", "Logon", "logon.settings")
    add_system_tab(app, "General", "system.general")
    add_system_tab(app, "Backup & Restore", "backups.listed")
    add_system_tab(app, "API", "api_page.calls")
