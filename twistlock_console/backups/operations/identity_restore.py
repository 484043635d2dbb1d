"""Makes a host one of the Console that a backup is of: its authority, its keys."""

from pathlib import Path

from twistlock_console.backups.format.archive import reading
from twistlock_console.backups.format.manifest import IDENTITY
from twistlock_console.backups.format.sealed_identity import CONFIG
from twistlock_console.common.atomic_files import write_secret, write_whole
from twistlock_console.common.errors import Refused
from twistlock_console.database.known_members import forget_known_members
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLUSTER_FILES,
    NODE,
    NODE_BUNDLE,
)
from twistlock_console.settings import Folders

#: Beside the file in force: addresses and folders are those of the lost host.
FOUND_CONFIG = f"{CONFIG}.from-backup"


def sealed_identity(path: Path) -> bytes:
    """The encrypted keys in the backup at *path*; raises Refused."""
    with reading(path) as reader:
        for entry in reader.entries():
            if entry.name == IDENTITY:
                return entry.read()
    raise Refused(f"{path.name} holds no keys")


def put_in_force(folders: Folders, files: dict[str, str]) -> None:
    """Take over the authority; this node's certificate is issued anew by it.

    Its key stays; the cluster's authority follows from the other. Cut short, it can be
    done again. Raises IdentityError.
    """
    certificates = folders.certificates
    forget_known_members(folders)
    for name in (NODE, NODE_BUNDLE, *CLUSTER_FILES):
        (certificates / name).unlink(missing_ok=True)
    write_secret(certificates / AUTHORITY_KEY, files[AUTHORITY_KEY].encode())
    write_whole(certificates / AUTHORITY, files[AUTHORITY].encode(), mode=0o644)
    if CONFIG in files:
        write_secret(folders.scripts / FOUND_CONFIG, files[CONFIG].encode())
