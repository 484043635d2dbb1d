"""The web application, put together: the Console's pages and those of its plugins.

The node starts it in its management server. Any WSGI server can run it too, with
``gunicorn 'wsgi:create()'``; it then reads the file that TWISTLOCK_CONFIG names. Such
a server is on its own: nothing tells it when the node stops being the primary.
"""

import os
from pathlib import Path

from flask import Flask

from twistlock_console import plugins
from twistlock_console.common.errors import SettingsError
from twistlock_console.settings import Settings, load_settings
from twistlock_console.web.app import create_app


def create(settings: Settings | None = None) -> Flask:
    """Build the application from *settings*, or from the file TWISTLOCK_CONFIG names.

    Touches no database before the first request. Raises SettingsError, PluginError
    and IdentityError.
    """
    settings = settings or _from_environment()
    return create_app(settings, plugins.enabled(settings))


def _from_environment() -> Settings:
    file = os.environ.get("TWISTLOCK_CONFIG")
    if not file:
        raise SettingsError("TWISTLOCK_CONFIG must name the configuration file")
    return load_settings(Path(file), os.environ)
