"""Changes of users and logon settings, shared by pages and API."""

from twistlock_console.accounts import login, users
from twistlock_console.accounts.credential_rules import check_password, check_username
from twistlock_console.accounts.login_settings import (
    LogonSettings,
    read_logon,
    write_logon,
)
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.users import User
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Refused
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.models import UserBody
from twistlock_console.web.security.sessions import (
    current_username,
    logon_settings_cache,
)


def add_user(body: UserBody) -> None:
    """Add a user.

    Raises:
        Refused: the name or the password is not acceptable, or the user exists.
    """
    with audited(AuditType.USER, f"added the user {body.username}") as change:
        check_username(body.username)
        if body.password is None:
            raise Refused("password: a new user needs one")
        hashed = _checked_hash(body.username, body.password)
        made = users.add(database(), body.username, hashed, body.role)
        change.new = _audit_fields(made)


def change_user(body: UserBody) -> None:
    """Replace a user as a whole; a password left out stays as it is."""
    with audited(AuditType.USER, f"changed the user {body.username}") as change:
        given = body.password
        hashed = None if given is None else _checked_hash(body.username, given)
        old, new = users.change(database(), body.username, body.role, hashed)
        if hashed is not None:
            login.forget_failures(database(), new.username)
        change.old, change.new = _audit_fields(old), _audit_fields(new)


def remove_user(username: str) -> None:
    """Delete a user.

    Raises:
        Refused: the user is the present one, the last administrator, or unknown.
    """
    with audited(AuditType.USER, f"deleted the user {username}") as change:
        found = users.find(database(), username)
        if found and found.username == current_username():
            raise Refused("you cannot delete the account that you are logged in with")
        change.old = _audit_fields(users.remove(database(), username))


def change_logon(new: LogonSettings) -> None:
    """Store the logon settings, apply them and record the change."""
    with audited(AuditType.SETTINGS, "changed the logon settings") as change:
        old = write_logon(database(), new)
        logon_settings_cache().invalidate()
        change.old, change.new = old.to_json(), new.to_json()


def _checked_hash(username: str, password: str) -> str:
    strong = read_logon(database()).strong_password
    check_password(password, username, strong=strong)
    return hash_password(password)


def _audit_fields(user: User) -> dict[str, str]:
    return {
        "username": user.username,
        "role": user.role.value,
        "password": user.password_hash,
    }
