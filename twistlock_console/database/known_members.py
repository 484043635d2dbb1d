"""The addresses of the cluster's other members, as they were last known to this node.

mongod must be given them when it starts, before the database can be asked for them.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address

from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.errors import IdentityError
from twistlock_console.settings import Folders

FILE = "members.json"


def read_known_members(folders: Folders) -> tuple[str, ...]:
    """Return the addresses that were stored last; none where the file is no good."""
    try:
        stored = json.loads(read_secret(folders.run / FILE))
        return tuple(str(IPv4Address(address)) for address in stored)
    except (IdentityError, ValueError, TypeError):
        return ()


def write_known_members(folders: Folders, addresses: Iterable[str]) -> None:
    """Store *addresses* unless they are stored already.

    A file that cannot be written costs the members no more than their exemption from
    mongod's limit of connections.
    """
    wanted = sorted(set(addresses))
    if list(read_known_members(folders)) != wanted:
        with suppress(IdentityError):
            write_secret(folders.run / FILE, json.dumps(wanted).encode())
