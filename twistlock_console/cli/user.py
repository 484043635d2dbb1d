"""`twistlock-console user reset-password`: a way back in for a locked-out person."""

import argparse
import getpass
import os
import sys
from pathlib import Path

from pymongo.errors import PyMongoError

from twistlock_console.accounts.credential_rules import check_password
from twistlock_console.accounts.login_settings import read_logon
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.users import Store, set_password
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditType, Entry
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import load_settings


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    user = commands.add_parser("user", help="accounts")
    verbs = user.add_subparsers(required=True, metavar="VERB")
    reset = verbs.add_parser(
        "reset-password", help="give a user a new password, read from standard input"
    )
    reset.add_argument("name")
    reset.add_argument("--config", type=Path, default=config, metavar="FILE")
    reset.set_defaults(run=_reset)


def _reset(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    password = _ask() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    # Any node of the set can do it: the client finds the primary.
    with connect(
        settings,
        credentials_for(settings, "console"),
        app_name="reset-password",
        whole_set=True,
    ) as client:
        try:
            reset_password(client["twistlock"], options.name, password)
        except PyMongoError as error:
            raise DatabaseError(f"the password was not changed: {error}") from error
    print(f"{options.name} has a new password; all sessions of that user ended.")  # noqa: T201


def reset_password(database: Store, username: str, password: str) -> None:
    """Give *username* another password, on record; raises Refused if it may not be."""
    check_password(password, username, strong=read_logon(database).strong_password)
    set_password(database, username, hash_password(password))
    trail.record(
        database,
        Entry(
            type=AuditType.USER,
            username="root",
            source_ip="this host",
            api="twistlock-console user reset-password",
            status=f"reset the password of {username}",
        ),
    )


def _ask() -> str:
    return getpass.getpass("New password: ")
