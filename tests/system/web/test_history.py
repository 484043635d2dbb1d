"""Rules of the history: each login and change with user, address and result."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.web.web_visitor import PASSWORD, USERNAME, Visitor, basic
from twistlock_console.audit import trail as audits
from twistlock_console.audit.trail import AuditType
from twistlock_console.web.common.database import storage_of

TRAIL = "/api/v1/audits/mgmt"
LOGON = "/manage/authentication/logon"
USERS = "/manage/authentication/users"
NEW = "another long phrase"
STRANGER = {"username": "eve", "password": "x"}
Act = Callable[[Visitor], object]


def trail(
    admin: Visitor, query: str = "", password: str = PASSWORD
) -> list[dict[str, Any]]:
    """Return the audit trail, the latest first."""
    answer = admin.get(TRAIL + query, Authorization=basic(password=password))
    entries: list[dict[str, Any]] = answer.get_json()
    return entries


def delete_unknown_user(admin: Visitor) -> object:
    """Try to delete a user that does not exist."""
    form = f"{USERS}/delete?username=absent"
    return admin.send(f"{USERS}/delete", form_on=form, username="absent")


ACTS: list[tuple[Act, AuditType, str, bool]] = [
    (
        lambda v: v.call("/api/v1/authenticate", STRANGER),
        AuditType.LOGIN,
        "failed login attempt",
        True,
    ),
    (lambda v: v.token(), AuditType.LOGIN, "successful login attempt", False),
    (
        lambda v: v.send("/logout", form_on=LOGON),
        AuditType.LOGIN,
        "logged out",
        False,
    ),
    (
        lambda v: v.send("/profile/end-sessions", form_on="/profile/password"),
        AuditType.PROFILE,
        "ended all sessions",
        False,
    ),
    (
        lambda v: v.send(LOGON, minutes="15"),
        AuditType.SETTINGS,
        "changed the logon settings",
        False,
    ),
    (
        delete_unknown_user,
        AuditType.USER,
        "failed: deleted the user absent: there is no user absent",
        True,
    ),
]


@pytest.mark.parametrize(("act", "kind", "status", "failure"), ACTS)
def test_every_action_is_recorded(
    admin: Visitor, act: Act, kind: AuditType, status: str, *, failure: bool
) -> None:
    """A record has user, action, address, path and result."""
    act(admin)
    entry = trail(admin)[0]

    assert (entry["type"], entry["status"]) == (kind.value, status)
    assert entry["failure"] is failure
    assert entry["sourceIP"] == admin.address
    assert entry["username"] in {USERNAME, "eve"}
    assert entry["api"].startswith("/")


def test_a_changed_password_is_recorded_without_it(admin: Visitor) -> None:
    """The history shows that it changed, and never the password or its hash."""
    admin.send("/profile/password", old=PASSWORD, new=NEW, repeated=NEW)
    entries = trail(admin, password=NEW)

    assert entries[0]["status"] == "changed the password"
    assert entries[0]["type"] == "profile"
    assert NEW not in str(entries)
    assert PASSWORD not in str(entries)


def test_the_history_is_filtered_by_type_and_user(admin: Visitor) -> None:
    """The filters offer the existing values and select the right records."""
    admin.call("/api/v1/authenticate", STRANGER)
    admin.send(LOGON, minutes="15")
    offered = admin.get(f"{TRAIL}/filters", Authorization=basic()).get_json()
    by_name = [entry["status"] for entry in trail(admin, "?username=eve")]
    by_type = [entry["type"] for entry in trail(admin, "?type=settings")]

    assert offered["username"] == [USERNAME, "eve"]
    assert {"login", "settings", "user"} <= set(offered["type"])
    assert by_name == ["failed login attempt"]
    assert by_type == ["settings"]
    assert trail(admin, "?to=2026-01-01T00:00:00Z") == []


def test_the_names_are_read_from_an_index(admin: Visitor, app: Flask) -> None:
    """Many failed logins do not slow down the list of usernames."""
    asked = {
        "aggregate": audits.COLLECTION,
        "pipeline": audits.USERNAMES_PIPELINE,
        "cursor": {},
    }
    plan = str(storage_of(app).database().command("explain", asked))

    assert "DISTINCT_SCAN" in plan
    assert "COLLSCAN" not in plan


def test_input_of_a_stranger_is_one_line(admin: Visitor) -> None:
    """A username with line ends cannot forge a second entry in a file of lines."""
    forged = {"username": "eve\ntime=now user=admin", "password": "x"}
    admin.call("/api/v1/authenticate", forged)

    assert trail(admin)[0]["username"] == "eve?time=now user=admin"
