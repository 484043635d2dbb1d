"""`twistlock-console defender command`: what deploys a Defender, without the page."""

import argparse
import os
from pathlib import Path

from pymongo.errors import PyMongoError

from twistlock_console.cli.audit import record_command
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.defenders.deploy_tokens import new_token
from twistlock_console.defenders.deployment import deploy_command
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
    command.add_argument("--config", type=Path, default=config, metavar="FILE")
    command.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    name = options.name or settings.node_address
    deploy_command(settings, name, "")
    command = deploy_command(settings, name, _token(settings))
    told = f"made a command that deploys Defenders by {name}"
    record_command(settings, "defender command", told)
    print(command)  # noqa: T201


def _token(settings: Settings) -> str:
    credentials = credentials_for(settings, "console")
    try:
        with connect(settings, credentials, app_name="deploy") as client:
            # The command holds the pin of this node's key.
            if not client.admin.command("hello")["isWritablePrimary"]:
                raise Refused(
                    f"{settings.node_address} does not serve; run this on the primary."
                )
            return new_token(client["twistlock"])[0]
    except PyMongoError as error:
        raise DatabaseError(f"no deploy token could be made: {error}") from error
