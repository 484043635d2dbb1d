"""The lists that both the pages and the API show."""

from twistlock_console.accounts import users
from twistlock_console.accounts.rights import UserRole
from twistlock_console.audit import trail
from twistlock_console.common.redaction import redact_text
from twistlock_console.web.lists.defenders import COMPLIANCE, DEFENDERS, HOST_AUDITS
from twistlock_console.web.lists.schema import Column, Filter, Listable


def _redacted(text: str | None, _: object) -> str | None:
    return redact_text(text) if text else text


USERS = Listable(
    collection=users.COLLECTION,
    columns=(
        Column("username", "Username", stored="_id", sortable=True),
        Column(
            "role",
            "Role",
            sortable=True,
            filter=Filter.EXACT,
            choices=tuple((role.value, role.label) for role in UserRole),
        ),
        Column("authType", "Authentication"),
        Column("lastModified", "Last modified", sortable=True),
    ),
    order="username",
    searched="username",
)

HISTORY = Listable(
    collection=trail.COLLECTION,
    columns=(
        Column("time", "Time", sortable=True, filter=Filter.TIME),
        Column(
            "type",
            "Type",
            filter=Filter.EXACT,
            choices=tuple((str(kind), str(kind)) for kind in trail.audit_kinds()),
        ),
        Column("username", "User", sortable=True, filter=Filter.EXACT),
        Column("sourceIP", "Source", filter=Filter.EXACT),
        Column("api"),
        # Entries of an earlier release may hold what is a secret.
        Column("status", "What was done", shown_as=_redacted),
        Column("failure", "Failed", filter=Filter.BOOLEAN, aside=True),
        Column("diff", shown_as=_redacted),
    ),
    order="time",
    newest_first=True,
    searched="user, address or what was done",
)

#: Every list; their indexes are made from it. All lists of events have the same ones.
LISTS = (USERS, HISTORY, DEFENDERS, HOST_AUDITS, COMPLIANCE)
