"""The Console's own pages, registered with their places in the navigation."""

from flask import Flask

from twistlock_console.web.menu import add_system_tab, add_tab
from twistlock_console.web.pages import (
    authentication,
    entry,
    frame,
    history,
    profile,
    system,
)


def init_app(app: Flask) -> None:
    """Register the pages and their tabs."""
    for part in (entry, profile, history, authentication, system):
        app.register_blueprint(part.bp)
    frame.init_app(app)
    add_tab(app, "Manage / View Logs", "History", "history.trail")
    add_tab(app, "Manage / Authentication", "Users", "authentication.users")
    add_tab(app, "Manage / Authentication", "Logon", "authentication.logon")
    add_system_tab(app, "General", "system.general")
