"""The files of an installation: its twistlock.cfg and its systemd unit. Pure.

Commands in the unit are quoted as systemd.service(5) says: C escapes, `%` for
specifiers, `$` for variables. Lists of paths are split with quotes but without escapes
(EXTRACT_UNQUOTE and EXTRACT_RETAIN_ESCAPE in systemd's load-fragment.c).
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

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


def render_unit(
    template: str,
    programs: PurePosixPath,
    data: PurePosixPath,
    volume: PurePosixPath,
) -> str:
    """Return the unit: *template* with the commands and folders filled in."""
    program = _quote(f"{programs}/current/bin/twistlock-console")
    # Variables are replaced in arguments, not in the program's path.
    config = _quote(f"{data}/scripts/twistlock.cfg").replace("$", "$$")
    values = {
        "@COMMAND@": f"{program} run --config {config}",
        # The volume may be missing, and the service starts all the same.
        "@WRITABLE@": f"{_quote_path(str(data))} {_quote_path(f'-{volume}')}",
        "@DATA_FOLDER@": _quote_path(str(data)),
    }
    return "\n".join(_filled(line, values) for line in template.split("\n"))


def _filled(line: str, values: dict[str, str]) -> str:
    """Replace the one word in *line*; what is put in is not searched again."""
    for name, value in values.items():
        before, found, after = line.partition(name)
        if found:
            return before + value + after
    return line


def _quote_path(path: str) -> str:
    escaped = path.replace("%", "%%")
    if not re.search(r"""[\s'"]""", escaped):
        return escaped
    # Each run of double quotes stands in single ones, all else in double ones.
    runs = re.findall(r'"+|[^"]+', escaped)
    return "".join(f"'{run}'" if run[0] == '"' else f'"{run}"' for run in runs)


def _quote(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    needed = escaped != word or any(c in " '\t" for c in word)
    return f'"{escaped}"' if needed else word
