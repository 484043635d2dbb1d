"""Make the service's account the owner of the Console's files, also after root."""

import os
import stat
from pathlib import Path

from twistlock_console.host_folders.account import Account
from twistlock_console.host_folders.rules import DATA_PARTS, MARK


def give_back(folder: Path, account: Account) -> int:
    """Make *account* the owner of DATA_FOLDER *folder* and of all our files in it.

    Foreign files beside ours stay as they are. Links are not followed, and a file with
    several hard links, of which one may be outside, is skipped. Returns the number of
    changes. Raises OSError.
    """
    changed = 0
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # A network file system with root_squash: only the account can have written.
        return 0
    try:
        device = os.fstat(root).st_dev
        changed += _give(".", root, account)
        for name in (*DATA_PARTS, MARK):
            changed += _give(name, root, account)
        for part in (name for name in DATA_PARTS if _is_within(name, root, device)):
            walk = os.fwalk(part, dir_fd=root, follow_symlinks=False)
            for _, folders, files, here in walk:
                changed += sum(_give(name, here, account) for name in files + folders)
                folders[:] = [n for n in folders if _is_within(n, here, device)]
    finally:
        os.close(root)
    return changed


def _is_within(name: str, here: int, device: int) -> bool:
    """Return whether *name* is a folder, no link to one, on the same file system."""
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_dev == device


def _give(name: str, here: int, account: Account) -> int:
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    is_folder = stat.S_ISDIR(found.st_mode)
    same = (found.st_uid, found.st_gid) == (account.uid, account.gid)
    if same or not (is_folder or found.st_nlink == 1):
        return 0
    os.chown(name, account.uid, account.gid, dir_fd=here, follow_symlinks=False)
    return 1
