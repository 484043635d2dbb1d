"""`twistlock-console user reset-password`: give a locked-out user a new password."""

import getpass
import sys
from pathlib import Path

import click
from pymongo.errors import PyMongoError

from twistlock_console.accounts import login
from twistlock_console.accounts.credential_rules import check_password
from twistlock_console.accounts.login_settings import read_logon
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.users import Store, set_password
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.cli.options import (
    config_option,
    print_line,
    settings_of_running_node,
)
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import connect, credentials_for


@click.group("user", help="Accounts.")
def command() -> None:
    """Group the commands of accounts."""


@command.command(
    "reset-password", help="Give a user a new password, read from standard input."
)
@click.argument("name")
@config_option
def reset(name: str, config: Path) -> None:
    """Read a password and set it for the user *name*."""
    settings = settings_of_running_node(config)
    password = (
        _prompt_password() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )
    # Any node of the set can do it: the client finds the primary.
    with connect(
        settings,
        credentials_for(settings, "console"),
        app_name="reset-password",
        whole_set=True,
    ) as client:
        try:
            reset_password(client["twistlock"], name, password)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the password was not changed: {why}") from error
    print_line(f"{name} has a new password; all sessions of that user ended.")


def reset_password(database: Store, username: str, password: str) -> None:
    """Set and audit a new password of *username*; raises Refused if it is too weak.

    The sessions and API tokens of the account end, and its failed logins are forgotten.
    """
    check_password(password, username, strong=read_logon(database).strong_password)
    user = set_password(database, username, hash_password(password))
    login.forget_failures(database, user.username)
    trail.record(
        database,
        AuditEntry(
            type=AuditType.USER,
            username="root",
            source_ip="this host",
            api="twistlock-console user reset-password",
            status=f"reset the password of {user.username}",
        ),
    )


def _prompt_password() -> str:
    return getpass.getpass("New password: ")
