"""Check every path of the settings for the scripts; `python -m …folder_check`.

Standard input has the settings as KEY=value lines, and those of the Console that is
installed as installed.KEY=value. Each finding is a line: its severity, a tab, and a
sentence. The exit code is 0: a problem of the host is no failure of the check.
"""

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from twistlock_console.host_folders.account import find_account
from twistlock_console.host_folders.probe import Probe
from twistlock_console.host_folders.rules import Finding, Host, Place, Use, judge

FROM_SETTINGS = (Use.DATA, Use.VOLUME, Use.KEY_FILE, Use.MONGOD)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings."""
    options = _parser().parse_args(arguments)
    values = dict(_pairs(sys.stdin))
    for finding in find(values, options):
        print(f"{finding.severity}\t{finding.sentence}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--account", default="twistlock")
    parser.add_argument("--account-id", type=int, default=2674)
    parser.add_argument("--install-folder", type=Path, default=Path("/opt/twistlock"))
    parser.add_argument("--settings-of-account", action="store_true")
    parser.add_argument("--without-systemd", action="store_true")
    return parser


def find(values: Mapping[str, str], options: argparse.Namespace) -> Iterator[Finding]:
    """Yield the problems of the paths in *values*."""
    probe = Probe(
        find_account(options.account, options.account_id),
        root_makes=not options.settings_of_account,
        installed={
            use: Path(values[f"installed.{use}"])
            for use in FROM_SETTINGS
            if values.get(f"installed.{use}")
        },
    )
    host = Host(
        has_systemd=not options.without_systemd,
        backups_enabled=values.get("DATA_RECOVERY_ENABLED", "true") == "true",
    )
    return judge(list(_places(probe, values, options.install_folder)), host)


def _places(probe: Probe, values: Mapping[str, str], programs: Path) -> Iterator[Place]:
    volume = Path(values[Use.VOLUME])
    yield probe.inspect(Use.PROGRAMS, programs)
    for use in FROM_SETTINGS:
        text = values.get(use) or (use is Use.MONGOD and shutil.which("mongod")) or ""
        if text:
            yield probe.inspect(use, Path(text), volume)


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        yield key, value


if __name__ == "__main__":
    sys.exit(main())
