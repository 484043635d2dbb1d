"""The lists that both the pages and the API show."""

from twistlock_console import audits
from twistlock_console.accounts import users
from twistlock_console.web.listing import Listable

USERS = Listable(
    collection=users.COLLECTION,
    columns={
        "username": "_id",
        "role": "role",
        "authType": "authType",
        "lastModified": "lastModified",
    },
    searched=("username", "role"),
    order="username",
)

HISTORY = Listable(
    collection=audits.COLLECTION,
    columns={
        name: name
        for name in (
            "time",
            "type",
            "username",
            "sourceIP",
            "api",
            "status",
            "failure",
            "diff",
        )
    },
    searched=("type", "username", "sourceIP", "api", "status"),
    order="time",
    newest_first=True,
)
