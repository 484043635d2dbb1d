"""The values of the installed twistlock.cfg in the file of a new release."""

from collections.abc import Mapping

from twistlock_console.settings.config_file import Mistake, decode_lines, parse


def merge(new: bytes, values: Mapping[str, str]) -> str:
    """Return the text of *new* with the lines in *values* in place of its own.

    *values* has the whole line of each key. Lines for keys that are not in *new*
    follow at its end. *new* must be text; use `lines_of` for an installed file.
    """
    lines = decode_lines(new)
    if isinstance(lines, Mistake):
        raise TypeError(lines.sentence)
    places = {entry.line: entry.key for entry in parse(new, {}).entries}
    merged = [
        values.get(places.get(number, ""), line.rstrip("\r"))
        for number, line in enumerate("\n".join(lines).rstrip("\n").split("\n"), 1)
    ]
    rest = [line for key, line in values.items() if key not in places.values()]
    return "\n".join([*merged, *rest, ""])


def lines_of(installed: bytes) -> dict[str, str]:
    """Return the line of each key that *installed* sets, as the Console reads it."""
    return {entry.key: entry.text for entry in parse(installed, {}).entries}
