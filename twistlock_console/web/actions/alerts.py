"""Changes of the settings of alerts and logging, and the test of both."""

import os
from typing import Any, cast

from flask import current_app

from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.outbox import Outbox
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    Seal,
    read,
    write,
)
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.settings import Settings
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.common.database import database


def shown(settings: AlertSettings) -> dict[str, Any]:
    """Give the settings as the API shows them."""
    hidden = {"webhook": {"secret": {"plain"}}}
    return settings.model_dump(by_alias=True, exclude=hidden)


def change_alerts(wanted: AlertSettings) -> None:
    """Store the settings of alerts with a sealed secret, and record the change."""
    with recorded(AuditType.SETTINGS, "changed the settings of alerts") as change:
        new = _seal().close(wanted)
        change.old = shown(read(database(), AlertSettings))
        write(database(), new)
        change.new = shown(new)


def change_logging(new: LoggingSettings) -> None:
    """Store the settings of syslog and metrics, and record the change."""
    with recorded(AuditType.SETTINGS, "changed the logging settings") as change:
        change.old = read(database(), LoggingSettings).model_dump(by_alias=True)
        write(database(), new)
        change.new = new.model_dump(by_alias=True)


def send_test() -> list[str]:
    """Send a test wherever alerts go; gives the channels. Raises Refused."""
    settings = _settings()
    sender = Sender(settings.node_address, settings.console_cn, os.getpid())
    with recorded(AuditType.SETTINGS, "sent a test alert"):
        return Outbox(_seal(), sender).test(
            read(database(), AlertSettings), read(database(), LoggingSettings)
        )


def _seal() -> Seal:
    return Seal(read_secret(_settings().folders.secrets / "session.key"))


def _settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])
