"""Store the last known addresses of the cluster's other members on this node.

They are needed before mongod starts: mongod exempts their connections from its limit,
and a node whose database is empty must ask them before it votes. So they are stored
beside the keyfile, not in the database.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address

from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.errors import IdentityError
from twistlock_console.common.json_members import load_json
from twistlock_console.settings import Folders

FILE = "members.json"


def read_known_members(folders: Folders) -> tuple[str, ...]:
    """Return the addresses that were stored last; none if the file is unusable."""
    try:
        stored = load_json(read_secret(folders.secrets / FILE))
        return tuple(str(IPv4Address(address)) for address in stored)
    except (IdentityError, ValueError, TypeError):
        return ()


def forget_known_members(folders: Folders) -> None:
    """Delete the addresses: this node joins another Console."""
    (folders.secrets / FILE).unlink(missing_ok=True)


def write_known_members(folders: Folders, addresses: Iterable[str]) -> None:
    """Store *addresses* unless they are stored already.

    If the file cannot be written, the next poll of the cluster tries again.
    """
    wanted = sorted(set(addresses))
    if list(read_known_members(folders)) != wanted:
        with suppress(IdentityError):
            write_secret(folders.secrets / FILE, json.dumps(wanted).encode())
