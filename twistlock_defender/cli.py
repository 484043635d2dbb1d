"""`twistlock-defender run` and `status`."""

import argparse
import asyncio
import json
import logging
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from twistlock_console import __version__
from twistlock_defender.link import Link

FOLDER = Path("/var/lib/twistlock/defender")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed with one sentence, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except (OSError, ssl.SSLError, ValueError) as error:
        print(f"{options.folder}: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="twistlock-defender")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="stay connected to the Console")
    run.add_argument("console", nargs="+", help="HOST:PORT of a Console, port 8084")
    run.add_argument("--name", required=True, help="as in the certificate")
    run.set_defaults(run=_run)
    status = commands.add_parser("status", help="show whom it is connected to")
    status.set_defaults(run=_status)
    for command in (run, status):
        command.add_argument(
            "--folder",
            type=Path,
            default=FOLDER,
            help="where ca.pem, certificate.pem and key.pem are",
        )
    return parser


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    link = Link(options.name, __version__, options.console, options.folder)
    asyncio.run(link.run())
    return 0


def _status(options: argparse.Namespace) -> int:
    told = json.loads((options.folder / "status.json").read_text())
    for name, value in told.items():
        print(f"{name:>10}  {value}")  # noqa: T201
    return 0 if told["connected"] else 1
