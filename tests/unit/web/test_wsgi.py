"""The web application is created from settings, or from their file."""

from pathlib import Path

import pytest
from flask import Flask

import wsgi
from plugins.ha.settings import HaSettings
from twistlock_console.common.atomic_files import ensure_secret
from twistlock_console.common.errors import SettingsError
from twistlock_console.settings import Settings


def settings_in(folder: Path, *, ha: bool) -> Settings:
    """Return the settings of a node whose secrets are in *folder*."""
    settings = Settings(
        node_address="127.0.0.1",
        data_folder=folder,
        plugin_values=HaSettings(enabled=ha).values(),
    )
    settings.folders.create()
    ensure_secret(settings.folders.secrets / "session.key")
    return settings


def rules(app: Flask) -> set[str]:
    """Return the paths that an application answers."""
    return {rule.rule for rule in app.url_map.iter_rules()}


def test_high_availability_is_invisible_unless_enabled(tmp_path: Path) -> None:
    """A Console without HA has neither its pages nor its API."""
    without = rules(wsgi.create(settings_in(tmp_path, ha=False)))
    enabled = rules(wsgi.create(settings_in(tmp_path, ha=True)))

    assert without < enabled
    assert not [rule for rule in without if "high-availability" in rule]
    assert [rule for rule in enabled - without if "high-availability" in rule]


def test_the_application_answers_pings(tmp_path: Path) -> None:
    """The health check of a load balancer needs no database."""
    client = wsgi.create(settings_in(tmp_path, ha=False)).test_client()

    assert client.get("/api/v1/_ping").status_code == 200


def test_a_foreign_server_reads_the_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``gunicorn 'wsgi:create()'`` takes the file from the environment."""
    settings_in(tmp_path, ha=False)
    file = tmp_path / "twistlock.cfg"
    file.write_text(f"NODE_ADDRESS=127.0.0.1\nDATA_FOLDER={tmp_path}\n")
    monkeypatch.setenv("TWISTLOCK_CONFIG", str(file))

    app = wsgi.create()

    assert app.extensions["settings"].data_folder == tmp_path


def test_without_a_file_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No default path is tried, which might belong to another installation."""
    monkeypatch.delenv("TWISTLOCK_CONFIG", raising=False)

    with pytest.raises(SettingsError, match="TWISTLOCK_CONFIG"):
        wsgi.create()
