"""Looks at every file that a rule watches, and compares it with its baseline."""

import os
from collections.abc import Callable, Iterator
from itertools import chain, islice

from twistlock_console.protocol import WatchedPath
from twistlock_defender.common.problems import Troubles
from twistlock_defender.files.compare import Comparison
from twistlock_defender.files.rules import Watched, covers

MOST_FILES = 100_000
MOST = "files most"
UNREAD = "files that cannot be read"


def survey(
    comparison: Comparison,
    watched: Watched,
    troubles: Troubles,
    stopped: Callable[[], bool],
) -> bool:
    """Compare all that is *watched*; False if *stopped* before the end."""
    unread, folders = comparison.unread, comparison.folders
    roots = (walk(root, watched, unread, folders) for root in watched.roots)
    paths = chain.from_iterable(roots)
    for path in islice(paths, MOST_FILES):
        comparison.examine_if_touched(path)
        if stopped():
            comparison.settle()
            return False
    if next(paths, None):
        name = comparison.rule.name
        troubles.tell(
            MOST,
            f"rule {name} watches more than {MOST_FILES:,} files; the others are not "
            "watched",
            name,
        )
    base = comparison.baseline
    for path in base.paths():
        if path not in watched:
            base.keep([(path, None)])
        elif not os.path.lexists(path):
            comparison.examine(path)
    comparison.settle()
    _tell_unread(comparison, troubles)
    return True


def _tell_unread(comparison: Comparison, troubles: Troubles) -> None:
    if not comparison.unread:
        troubles.clear(UNREAD)
        return
    # Not how many: the same sentence is told once.
    troubles.tell(
        UNREAD,
        f"watched files cannot be read, {min(comparison.unread)} for one; run the "
        "Defender as root",
        comparison.rule.name,
    )


def walk(
    root: WatchedPath, watched: Watched, unread: list[str], looked_into: list[str]
) -> Iterator[str]:
    """Every path that *root* covers and *watched* does not exclude.

    Folders that we may not read are added to *unread*, others to *looked_into*.
    """
    folders = [root.path]
    if watched.excludes(root.path):
        return
    yield root.path
    while folders:
        folder = folders.pop()
        entries = _entries(folder, unread)
        if entries is None:
            continue
        looked_into.append(folder)
        for entry in entries:
            if watched.excludes(entry.path) or not covers(root, entry.path):
                continue
            yield entry.path
            if root.recursive and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def _entries(folder: str, unread: list[str]) -> list["os.DirEntry[str]"] | None:
    """What is in *folder*; None when it is none, or may not be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        unread.append(folder)
        return None
    except OSError:
        return None
