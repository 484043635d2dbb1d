"""`twistlock-console defender command`: print the command that deploys a Defender."""

from collections.abc import Sequence
from pathlib import Path

import click
from pymongo.errors import PyMongoError

from twistlock_console.cli.audit import record_command
from twistlock_console.cli.options import (
    config_option,
    print_line,
    settings_of_running_node,
)
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.defenders.deployment import create_token, deploy_command
from twistlock_console.defenders.enrolled import allow
from twistlock_console.settings import Settings


@click.group("defender", help="Deploy Defenders.")
def command() -> None:
    """Group the commands of Defenders."""


@command.command("command", help="Print the command that deploys a Defender on a host.")
@click.option("--name", help="The Console's name for it; this address if left out.")
@click.option(
    "--allow",
    multiple=True,
    metavar="HOST",
    help="Let HOST enrol again under its name, once, within a day.",
)
@config_option
def print_command(name: str | None, allow: tuple[str, ...], config: Path) -> None:
    """Create a deploy token and print the command that contains it."""
    settings = settings_of_running_node(config)
    console = name or settings.node_address
    deploy_command(settings, console, "")
    token, allowed = _prepare(settings, allow)
    printed = deploy_command(settings, console, token)
    done = f"made a command that deploys Defenders by {console}"
    if allowed:
        done += f", and allowed to be enrolled again: {', '.join(allowed)}"
    record_command(settings, "defender command", done)
    print_line(printed)


def _prepare(settings: Settings, hosts: Sequence[str]) -> tuple[str, list[str]]:
    """Return a new token, and the *hosts* that were permitted to enrol again."""
    credentials = credentials_for(settings, "console")
    try:
        with connect(settings, credentials, app_name="deploy") as client:
            # The command holds the pin of this node's key.
            if not client.admin.command("hello")["isWritablePrimary"]:
                raise Refused(
                    f"{settings.node_address} is a standby; run this on the primary."
                )
            database = client["twistlock"]
            allowed = [host for host in hosts if allow(database, host, "root")]
            return create_token(database)[0], allowed
    except PyMongoError as error:
        why = describe_error(error)
        raise DatabaseError(f"no deploy token could be created: {why}") from error
