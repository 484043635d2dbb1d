"""Write settings as twistlock.cfg would have them."""

from enum import StrEnum

from twistlock_console.settings.keys import KEYS
from twistlock_console.settings.values import Settings


def values_of(settings: Settings) -> dict[str, str]:
    """Every setting as twistlock.cfg would have it."""
    core = {key.name: getattr(settings, key.attribute) for key in KEYS}
    values = {**core, **settings.plugin_values}
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case StrEnum():
            return value.value
        case _:
            return str(value)
