"""The systemd unit of the Console, with the paths of one installation.

Commands are quoted as systemd.service(5) says: C escapes, `%` for specifiers, `$` for
variables. Lists of paths are split with quotes but without escapes (EXTRACT_UNQUOTE
and EXTRACT_RETAIN_ESCAPE in systemd's load-fragment.c).
"""

import re
from pathlib import PurePosixPath


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
