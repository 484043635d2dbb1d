"""The Console's own pages, and their places in the navigation."""

from flask import Flask

from twistlock_console.web.pages import (
    alerts,
    authentication,
    backups,
    defenders,
    host_policy,
    login,
    monitor,
    profile,
    system,
)
from twistlock_console.web.ui import layout
from twistlock_console.web.ui.layout import add_system_tab, add_tab


def init_app(app: Flask) -> None:
    """Register the pages and their tabs."""
    own = (login, profile, authentication, system, backups, alerts)
    for part in (*own, host_policy, monitor, defenders):
        for bp in part.BLUEPRINTS:
            app.register_blueprint(bp)
    layout.init_app(app)
    add_tab(app, "Defend / Runtime", "Host policy", "host_policy.rules")
    add_tab(app, "Monitor / Events", "Host audits", "events.host")
    add_tab(app, "Monitor / Events", "File integrity", "events.files")
    add_tab(app, "Monitor / Events", "Defenders' trouble", "events.troubles")
    add_tab(app, "Monitor / Compliance", "Hosts", "compliance.hosts")
    add_tab(app, "Manage / Defenders", "Manage", "defenders.listed")
    add_tab(app, "Manage / Defenders", "Deploy", "deploy.choose")
    add_tab(app, "Manage / Defenders", "Advanced", "defenders.settings")
    add_tab(app, "Manage / Defenders", "Names", "names.listed")
    add_tab(app, "Manage / View Logs", "History", "history.trail")
    add_tab(app, "Manage / View Logs", "Console", "logs.console")
    add_tab(app, "Manage / Alerts", "Alerts", "alerts.settings")
    add_tab(app, "Manage / Alerts", "Logging", "alerts.logging")
    add_tab(app, "Manage / Authentication", "Users", "users.listed")
    add_tab(app, "Manage / Authentication", "Logon", "logon.settings")
    add_system_tab(app, "General", "system.general")
    add_system_tab(app, "Backup & Restore", "backups.listed")
    add_system_tab(app, "API", "api_page.calls")
