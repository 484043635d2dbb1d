"""Parse and run the commands `twistlock-defender enrol`, `run` and `status`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from twistlock_console import __version__
from twistlock_defender.common.errors import DefenderError
from twistlock_defender.common.folder import FOLDER, Folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 on success, 1 on an error, 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except (DefenderError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="twistlock-defender")
    parser.add_argument("--version", action="version", version=__version__)
    levels = ["debug", "info", "warning", "error"]
    parser.add_argument("--log-level", choices=levels, default="info")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    enrol = commands.add_parser(
        "enrol", help="get a certificate; reads the deploy token from standard input"
    )
    enrol.add_argument("console", help="NAME:PORT of the Console's API, port 8083")
    enrol.add_argument("--pin", required=True, help="sha256//… of the Console's key")
    enrol.add_argument("--name", help="this Defender's name; the host's if left out")
    enrol.add_argument("--outbox-mb", type=int, default=256, metavar="MB")
    enrol.set_defaults(run=_enrol)
    run = commands.add_parser("run", help="enforce the policy, and stay connected")
    run.set_defaults(run=_run)
    status = commands.add_parser("status", help="show the status of the Defender")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)
    for command in (enrol, run, status):
        command.add_argument("--folder", type=_folder, default=Folder(FOLDER))
    return parser


def _folder(text: str) -> Folder:
    return Folder(Path(text).absolute())


# Late imports: `status` starts fast, and `run` loads only the modules that it needs.
def _enrol(options: argparse.Namespace) -> int:
    from twistlock_defender.cli.enrolment import Enrolment, enrol

    token = sys.stdin.readline().strip()
    enrol(
        Enrolment(options.console, options.pin, token, options.name),
        options.folder,
        options.outbox_mb,
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    from twistlock_defender.agent import agent

    agent.run(options.folder)
    return 0


def _status(options: argparse.Namespace) -> int:
    from twistlock_defender.cli import status_screen

    return status_screen.print_status(options.folder, as_json=options.json)
