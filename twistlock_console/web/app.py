"""Composition of the Flask application: settings, security, pages, API and plugins."""

from collections.abc import Sequence
from typing import Protocol

from flask import Flask
from flask_wtf.csrf import CSRFError, CSRFProtect

from twistlock_console.accounts.passwords import PasswordCache
from twistlock_console.accounts.sessions import derive_key
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.database.client import Client, connect, credentials_for
from twistlock_console.settings import Settings
from twistlock_console.web import api, pages
from twistlock_console.web.actions.backups import UploadRequest
from twistlock_console.web.common import errors, http
from twistlock_console.web.common.database import Storage
from twistlock_console.web.lists.query import MAX_OFFSET
from twistlock_console.web.security import sessions
from twistlock_console.web.security.sessions import LogonSettingsCache
from twistlock_console.web.ui import static_files, templates

ONE_DAY_S = 86_400


class WebPlugin(Protocol):
    """A part that adds pages, API calls or tabs to the application."""

    def init_app(self, app: Flask) -> None:
        """Register blueprints and tabs."""


def create_app(settings: Settings, plugins: Sequence[WebPlugin] = ()) -> Flask:
    """Build the application.

    It reads files but opens no database connection, so its server may fork.

    Raises:
        IdentityError: the cluster's session secret cannot be read.
    """
    app = Flask(__name__)
    app.request_class = UploadRequest
    templates.cache_compiled(app, settings.folders.run)
    secret = read_secret(settings.folders.secrets / "session.key")
    app.secret_key = derive_key(secret, "session cookie")
    app.config.update(_configuration())
    app.extensions["settings"] = settings
    app.extensions["token_key"] = derive_key(secret, "API token")
    app.extensions["storage"] = Storage(lambda: _client(settings))
    app.extensions["logon"] = LogonSettingsCache()
    app.extensions["password_cache"] = PasswordCache()
    _FormProtection(app)
    parts: list[WebPlugin] = [http, static_files, templates, errors]
    for part in [*parts, sessions, api, pages, *plugins]:
        part.init_app(app)
    app.jinja_env.globals["max_offset"] = MAX_OFFSET
    templates.compile_templates(app)
    return app


class _FormProtection(CSRFProtect):  # type: ignore[misc]  # Flask-WTF has no types
    """CSRF protection that treats an unreadable Referer or Host as a missing one."""

    def protect(self, apply_exemptions: bool = False) -> None:
        """Raise CSRFError unless the form is from one of our pages."""
        try:
            super().protect(apply_exemptions)
        except ValueError as error:
            raise CSRFError("The referrer header is missing.") from error


def _configuration() -> dict[str, object]:
    return {
        "SESSION_COOKIE_NAME": "__Host-session",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SEND_FILE_MAX_AGE_DEFAULT": ONE_DAY_S,
        "PROPAGATE_EXCEPTIONS": False,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
    }


def _client(settings: Settings) -> Client:
    credentials = credentials_for(settings, "console")
    return connect(settings, credentials, app_name="console-web")
