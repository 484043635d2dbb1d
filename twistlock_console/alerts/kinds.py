"""The kinds of alerts: those of the core, and those that plugins declare.

A kind is a member of `triggers` in the settings of alerts, and its threshold is a
member of those settings beside them.
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

    Where *is_duration*, the threshold is the time in seconds that a problem must last
    before it is reported; otherwise the source of the problem uses it.
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
    """Return every kind, those of plugins after the core's."""
    added = (kind for plugin in plugins.installed() for kind in plugin.alert_kinds)
    return (*CORE_KINDS, *added)
