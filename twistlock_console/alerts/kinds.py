"""Declare the kinds of alerts of the core, and collect those of plugins.

Each kind is a member of `triggers` in the settings of alerts; its threshold is a member
of these settings beside `triggers`.
"""

from dataclasses import dataclass

from twistlock_console import plugins


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number in the settings of alerts, by its JSON name, with its bounds."""

    name: str
    label: str
    default: int
    maximum: int
    minimum: int = 1


@dataclass(frozen=True, slots=True)
class AlertKind:
    """The kind of an alert, by its JSON name; *label* is for the page.

    If *is_duration* is true, the threshold is the time in seconds that a problem must
    last before it is reported. Otherwise the source of the problem uses it.
    """

    name: str
    label: str
    threshold: Threshold | None = None
    is_duration: bool = False


FAILOVER = AlertKind("failover", "Another node took over")
DEFENDERS_LOST = AlertKind(
    "defendersLost",
    "Defenders are lost",
    Threshold(
        "defendersLostMinutes",
        "Minutes until an absent Defender counts as lost",
        default=10,
        maximum=43_200,
    ),
)
CORE_KINDS = (
    FAILOVER,
    AlertKind("backupFailed", "A backup failed"),
    AlertKind("certificateEnd", "A certificate is near its end"),
    DEFENDERS_LOST,
)


def alert_kinds() -> tuple[AlertKind, ...]:
    """Return all kinds: those of the core, then those of plugins."""
    added = (kind for plugin in plugins.installed() for kind in plugin.alert_kinds)
    return (*CORE_KINDS, *added)
