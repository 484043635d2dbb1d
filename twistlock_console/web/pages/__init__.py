"""The Console's own pages, registered with their places in the navigation."""

from flask import Flask

from twistlock_console.web.menu import add_system_tab, add_tab
from twistlock_console.web.pages import (
    comfort,
    entry,
    frame,
    history,
    logon,
    logs,
    profile,
    system,
    users,
)


def init_app(app: Flask) -> None:
    """Register the pages and their tabs."""
    own = (entry, profile, comfort, history, logs, users, logon, system)
    for part in own:
        app.register_blueprint(part.bp)
    frame.init_app(app)
    add_tab(app, "Manage / View Logs", "History", "history.trail")
    add_tab(app, "Manage / View Logs", "Console", "logs.console")
    add_tab(app, "Manage / Authentication", "Users", "users.listed")
    add_tab(app, "Manage / Authentication", "Logon", "logon.settings")
    add_system_tab(app, "General", "system.general")
