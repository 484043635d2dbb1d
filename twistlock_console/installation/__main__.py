"""Answer twistlock.sh: `python -m twistlock_console.installation COMMAND`.

It needs nothing but the standard library, and so runs from the wheel of a release
before anything is installed.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from twistlock_console.common.errors import ConsoleError, SettingsError
from twistlock_console.host_folders import check
from twistlock_console.host_folders.account import (
    Account,
    AttemptFailed,
    attempt,
    find_account,
)
from twistlock_console.host_folders.rules import DATA_SIGNS, MARK
from twistlock_console.installation.files import lines_of, merge, render_unit
from twistlock_console.installation.ownership import give_back
from twistlock_console.installation.removal import plan_removal
from twistlock_console.settings import config_file
from twistlock_console.settings.checks import Finding, check_address
from twistlock_console.settings.config_file import quote
from twistlock_console.settings.keys import values_of
from twistlock_console.settings.loading import (
    check_plugins,
    parse_settings,
    read_config,
)
from twistlock_console.settings.values import Settings

ACCOUNT_ID = 2674


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["folders"]:
        return check.main(words[1:])
    options = _parser().parse_args(words)
    try:
        print(options.run(options), end="")  # noqa: T201
    except ConsoleError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="installation")
    parser.add_argument("--account", default="twistlock")
    commands = parser.add_subparsers(required=True)
    for name, run in (("values", _values), ("text", _text)):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path, required=True)
        command.add_argument("--keep", type=Path, help="of the account")
        command.add_argument("--data-folder")
        command.set_defaults(run=run)
    installed = commands.add_parser("installed")
    installed.add_argument("--config", type=Path, required=True)
    installed.set_defaults(run=_installed)
    unit = commands.add_parser("unit")
    for name in ("template", "programs", "data", "volume"):
        unit.add_argument(f"--{name}", type=Path, required=True)
    unit.set_defaults(run=_unit)
    removable = commands.add_parser("removable")
    removable.add_argument("folder", type=Path)
    removable.add_argument("--volume", default="")
    removable.add_argument("--key-file", default="")
    removable.set_defaults(run=_removable)
    own = commands.add_parser("own")
    own.add_argument("folder", type=Path)
    own.set_defaults(run=_own)
    return parser


def _values(options: argparse.Namespace) -> str:
    """Return each setting of this run as a line KEY=value, without quotes."""
    content, name = _content(options)
    return _as_lines(values_of(parse_settings(content, name, os.environ, _check_host)))


def _check_host(settings: Settings) -> Iterator[Finding]:
    """Check the host, except for paths: `host_folders.check` does that."""
    yield from check_address(settings)
    yield from check_plugins(settings, os.environ, Path("/"))


def _text(options: argparse.Namespace) -> str:
    """Return the text of the twistlock.cfg to install."""
    return _content(options)[0].decode("utf-8-sig")


def _installed(options: argparse.Namespace) -> str:
    """Return the settings of the installed Console."""
    content = _read_as(_account(options), options.config)
    settings = parse_settings(content, str(options.config), os.environ)
    return _as_lines(values_of(settings))


def _content(options: argparse.Namespace) -> tuple[bytes, str]:
    content, name = read_config(options.config), str(options.config)
    given: dict[str, str] = {}
    if options.keep is not None:
        installed = _read_as(_account(options), options.keep)
        _refuse_mistakes(installed, str(options.keep))
        given |= lines_of(installed)
        name += f" with the values of {options.keep}"
    if options.data_folder is not None:
        given["DATA_FOLDER"] = f"DATA_FOLDER={quote(options.data_folder)}"
        name += " and --install-data-folder"
    if not given:
        return content, name
    _refuse_mistakes(content, str(options.config))
    return merge(content, given).encode(), name


def _refuse_mistakes(content: bytes, name: str) -> None:
    """Raise SettingsError if lines of the file *name* cannot be read."""
    mistakes = config_file.parse(content, os.environ).mistakes
    if mistakes:
        lines = (f"{name}, line {m.line}: {m.sentence}" for m in mistakes)
        raise SettingsError("\n".join(lines).replace(", line 0:", ":"))


def _read_as(account: Account, file: Path) -> bytes:
    """Read a file as *account*, since it may be a link to a file of root."""

    def read() -> str:
        with file.open("rb") as opened:
            return opened.read(config_file.MAX_FILE_BYTES + 1).decode("latin-1")

    try:
        return attempt(account, read).encode("latin-1")
    except AttemptFailed as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _unit(options: argparse.Namespace) -> str:
    """Return the text of the systemd unit."""
    folders = (options.programs, options.data, options.volume)
    return render_unit(
        options.template.read_text("utf-8"), *map(PurePosixPath, folders)
    )


def _removable(options: argparse.Namespace) -> str:
    """Return a line for each part of DATA_FOLDER: to remove, or a warning."""
    real = Path(os.path.realpath(options.folder))
    kept = {
        what: PurePosixPath(os.path.realpath(path))
        for what, path in (
            ("the folder for backups", options.volume),
            ("the key of the backups", options.key_file),
        )
        if path
    }
    signs = (MARK, *DATA_SIGNS)
    present = [path.name for path in real.iterdir()]
    ours = any((real / sign).exists() for sign in signs)
    plan = plan_removal(PurePosixPath(real), present, kept, is_ours=ours)
    return "".join(f"{verdict}\t{text}\n" for verdict, text in plan)


def _own(options: argparse.Namespace) -> str:
    """Make the service's account the owner of the Console's folders."""
    give_back(options.folder, _account(options))
    return ""


def _account(options: argparse.Namespace) -> Account:
    return find_account(options.account, ACCOUNT_ID)


def _as_lines(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
