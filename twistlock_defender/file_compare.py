"""Compares watched files with their baseline, and tells what changed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from twistlock_console.protocol import FileEvent, HostRule, WatchedPath
from twistlock_defender.clock import utc_now
from twistlock_defender.file_baseline import Baseline
from twistlock_defender.file_records import record_of, stamp_of
from twistlock_defender.file_rules import Record, Watched, change_of, covers
from twistlock_defender.findings import UNNUMBERED, printable
from twistlock_defender.troubles import Report

PIECE = 200
MOST_FILES = 100_000


@dataclass(slots=True)
class Comparison:
    """One comparison for *rule*; what was found is reported, then becomes baseline.

    *silent* says of a path that it had no baseline before: nothing is reported.
    *unread* collects what we may not read.
    """

    baseline: Baseline
    rule: HostRule
    report: Report
    silent: Callable[[str], bool] = lambda path: False
    unread: list[str] = field(default_factory=list)
    _found: list[FileEvent] = field(default_factory=list)
    _records: list[tuple[str, Record | None]] = field(default_factory=list)

    def examine(self, path: str) -> None:
        """Compare *path* and note what changed."""
        before = self.baseline.get(path)
        try:
            after = record_of(path)
        except OSError:
            self.unread.append(path)
            return
        if before == after:
            return
        change = change_of(before, after)
        if change and not self.silent(path):
            self._found.append(self._event(path, before, after))
        self._records.append((path, after))
        if len(self._records) >= PIECE:
            self.settle()

    def examine_if_touched(self, path: str) -> None:
        """The same, but look no closer at what nobody has touched since."""
        try:
            stamp = stamp_of(path)
        except OSError:
            self.unread.append(path)
            return
        before = self.baseline.get(path)
        if before is None or before.stamp != stamp or not stamp:
            self.examine(path)

    def settle(self) -> None:
        """Report what was found; only then it is the baseline."""
        if self._found:
            self.report(self._found)
        self.baseline.keep(self._records)
        self._found, self._records = [], []

    def _event(
        self, path: str, before: Record | None, after: Record | None
    ) -> FileEvent:
        change = change_of(before, after)
        assert change is not None  # noqa: S101  for the type checker
        shown = after or before
        return FileEvent(
            UNNUMBERED,
            utc_now(),
            self.rule.name,
            self.rule.files.effect,
            printable(path, 4096),
            change,
            before.hash or None if before else None,
            after.hash or None if after else None,
            shown.mode if shown else None,
            printable(shown.owner, 255) if shown else None,
        )


def walk(root: WatchedPath, watched: Watched, unread: list[str]) -> Iterator[str]:
    """Every path that *root* covers and *watched* does not exclude.

    Folders that we may not read are added to *unread*.
    """
    folders = [root.path]
    if watched.excludes(root.path):
        return
    yield root.path
    while folders:
        for entry in _entries(folders.pop(), unread):
            if watched.excludes(entry.path) or not covers(root, entry.path):
                continue
            yield entry.path
            if root.recursive and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def _entries(folder: str, unread: list[str]) -> list["os.DirEntry[str]"]:
    """What is in *folder*; nothing when it is none, or may not be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        unread.append(folder)
        return []
    except OSError:
        return []
