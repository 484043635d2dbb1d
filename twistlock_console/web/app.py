"""Puts the Flask application together."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from flask import Flask
from flask_wtf.csrf import CSRFProtect
from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from twistlock_console import __version__
from twistlock_console.accounts.passwords import PasswordCache
from twistlock_console.accounts.sessions import derive_key
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings
from twistlock_console.web import api, operations, pages
from twistlock_console.web.actions.uploads import UploadRequest
from twistlock_console.web.common import errors, request_ids
from twistlock_console.web.common.database import Client, Storage
from twistlock_console.web.common.json_times import JsonWithTimes
from twistlock_console.web.lists.request import FARTHEST
from twistlock_console.web.security import headers, sessions
from twistlock_console.web.security.sessions import LogonCache
from twistlock_console.web.ui import form_values, static_files

ONE_DAY = 86_400


class WebPlugin(Protocol):
    """Something that adds pages, API calls or tabs to the application."""

    def init_app(self, app: Flask) -> None:
        """Register blueprints and tabs."""


def create_app(settings: Settings, plugins: Sequence[WebPlugin] = ()) -> Flask:
    """Build the application; touches files and no database, so it can be forked.

    Raises IdentityError when the cluster's session secret cannot be read.
    """
    app = Flask(__name__)
    app.request_class = UploadRequest
    # Compiled templates are kept, so that a standby that takes over need not compile.
    kept = _TemplateCache(str(settings.folders.run))
    app.jinja_options = {"bytecode_cache": kept}
    secret = read_secret(settings.folders.secrets / "session.key")
    app.secret_key = derive_key(secret, "session cookie")
    app.json = JsonWithTimes(app)
    app.config.update(_configuration())
    app.extensions["settings"] = settings
    app.extensions["token_key"] = derive_key(secret, "API token")
    app.extensions["storage"] = Storage(lambda: _client(settings))
    app.extensions["logon"] = LogonCache()
    app.extensions["password_cache"] = PasswordCache()
    CSRFProtect(app)
    parts: list[WebPlugin] = [request_ids, headers, static_files, form_values, errors]
    for part in [*parts, sessions, api, pages, operations, *plugins]:
        part.init_app(app)
    _prepare_templates(app)
    return app


class _TemplateCache(FileSystemBytecodeCache):
    """Keeps compiled templates where it can: a full disk only makes a start slower."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write what was compiled, if there is room."""
        with suppress(OSError):
            super().dump_bytecode(bucket)


def _configuration() -> dict[str, object]:
    return {
        "SESSION_COOKIE_NAME": "__Host-session",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SEND_FILE_MAX_AGE_DEFAULT": ONE_DAY,
        "PROPAGATE_EXCEPTIONS": False,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
    }


def _client(settings: Settings) -> Client:
    credentials = credentials_for(settings, "console")
    return connect(settings, credentials, app_name="console-web")


def _prepare_templates(app: Flask) -> None:
    """Compile every template now, so that the first request need not."""
    app.jinja_env.filters.update(sentence=_sentence, moment=_moment)
    app.jinja_env.globals.update(farthest=FARTHEST, product_version=__version__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for name in app.jinja_env.list_templates(["html"]):
        app.jinja_env.get_template(name)


def _sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _moment(time: datetime | None) -> str:
    """Write a time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC") if time else "never"
