"""Folders of the operating system, which are never the Console's.

The names are those of the Filesystem Hierarchy Standard and hier(7).
"""

from pathlib import PurePosixPath

DEFAULT = PurePosixPath("/var/lib/twistlock")

_TREES = "/bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /proc /run /sbin /sys"
_FOLDERS = """
/ /home /lost+found /media /mnt /opt /root /srv /tmp /usr/local
/var /var/account /var/backups /var/cache /var/crash /var/db /var/empty /var/games
/var/lib /var/local /var/lock /var/log /var/mail /var/nis /var/opt /var/preserve
/var/run /var/snap /var/spool /var/state /var/tmp /var/www /var/yp
"""
_BELOW_USR_LOCAL = """
bin etc games include lib lib32 lib64 libexec libx32 man sbin share src
"""
#: Nothing of ours is anywhere below these.
SYSTEM_TREES = frozenset(_TREES.split())
#: A folder of ours may be below these, but never be one of them.
SYSTEM_FOLDERS = frozenset(_FOLDERS.split())
_IN_USR_LOCAL = frozenset(_BELOW_USR_LOCAL.split())

#: Why the service cannot use paths below these: settings of its systemd unit.
HIDDEN_TREES = {
    "/home": "which the service cannot see (ProtectHome in its unit)",
    "/root": "which the service cannot see (ProtectHome in its unit)",
    "/tmp": "which is emptied, and of which the service has its own "  # noqa: S108
    "(PrivateTmp in its unit)",
    "/var/tmp": "which is emptied, and of which the service has its own "  # noqa: S108
    "(PrivateTmp in its unit)",
}


def is_system_folder(folder: PurePosixPath) -> bool:
    """Return whether *folder*, with links resolved, belongs to the operating system."""
    text = str(folder)
    if text in SYSTEM_FOLDERS or _is_below(folder, SYSTEM_TREES):
        return True
    match folder.parts[1:]:
        case ["usr", "local", first, *_]:
            return first in _IN_USR_LOCAL
        case ["usr", *_]:
            return True
        case _:
            return False


def why_hidden(path: PurePosixPath) -> str | None:
    """Return why the service cannot use *path*, with links resolved; None if it can."""
    for tree, reason in HIDDEN_TREES.items():
        if _is_below(path, [tree]):
            return f"is below {tree}, {reason}"
    return None


def _is_below(path: PurePosixPath, trees: frozenset[str] | list[str]) -> bool:
    return any(path.is_relative_to(tree) for tree in trees)
