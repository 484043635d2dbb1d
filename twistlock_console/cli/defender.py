"""`twistlock-console defender command`: what deploys a Defender, without the page."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from pymongo.errors import PyMongoError

from twistlock_console.cli.audit import record_command
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.defenders.deploy_tokens import new_token
from twistlock_console.defenders.deployment import deploy_command
from twistlock_console.defenders.enrolled import allow
from twistlock_console.settings import Settings, load_settings


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    defender = commands.add_parser("defender", help="Defenders: the command to deploy")
    verbs = defender.add_subparsers(required=True, metavar="VERB")
    command = verbs.add_parser(
        "command", help="print the command that deploys a Defender on a host"
    )
    command.add_argument("--name", help="the Console's name for it, or this address")
    command.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="HOST",
        help="let HOST enrol again under its name, once, within a day",
    )
    command.add_argument("--config", type=Path, default=config, metavar="FILE")
    command.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    name = options.name or settings.node_address
    deploy_command(settings, name, "")
    token, allowed = _prepare(settings, options.allow)
    command = deploy_command(settings, name, token)
    told = f"made a command that deploys Defenders by {name}"
    if allowed:
        told += f", and allowed to be enrolled again: {', '.join(allowed)}"
    record_command(settings, "defender command", told)
    print(command)  # noqa: T201


def _prepare(settings: Settings, hosts: Sequence[str]) -> tuple[str, list[str]]:
    """Return a new token, and those of *hosts* that needed the permission."""
    credentials = credentials_for(settings, "console")
    try:
        with connect(settings, credentials, app_name="deploy") as client:
            # The command holds the pin of this node's key.
            if not client.admin.command("hello")["isWritablePrimary"]:
                raise Refused(
                    f"{settings.node_address} does not serve; run this on the primary."
                )
            database = client["twistlock"]
            allowed = [host for host in hosts if allow(database, host, "root")]
            return new_token(database)[0], allowed
    except PyMongoError as error:
        raise DatabaseError(f"no deploy token could be made: {error}") from error
