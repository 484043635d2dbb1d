"""The settings of a node, from twistlock.cfg and the environment."""

from twistlock_console.settings.checks import check_ports_free
from twistlock_console.settings.loading import load_settings
from twistlock_console.settings.values import Folders, LogFormat, Settings

__all__ = [
    "Folders",
    "LogFormat",
    "Settings",
    "check_ports_free",
    "load_settings",
]
