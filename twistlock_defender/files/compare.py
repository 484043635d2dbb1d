"""Compares watched files with their baseline, and tells what changed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from twistlock_console.protocol import FileEvent, HostRule
from twistlock_defender.common.clock import utc_now
from twistlock_defender.common.findings import UNNUMBERED, printable
from twistlock_defender.common.problems import Report
from twistlock_defender.files.baseline import Baseline
from twistlock_defender.files.fingerprint import record_of, stamp_of
from twistlock_defender.files.rules import Record, change_of

PIECE = 200
WRITTEN = ("created", "modified")


@dataclass(slots=True)
class Comparison:
    """One comparison for *rule*; what was found is reported, then becomes baseline.

    *silent* says of a path that it had no baseline before: nothing is reported.
    *writer* says who wrote to a path. *unread* collects what we may not read, *folders*
    those that were looked into.
    """

    baseline: Baseline
    rule: HostRule
    report: Report
    silent: Callable[[str], bool] = lambda path: False
    writer: Callable[[str], str | None] = lambda path: None
    unread: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
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
        # Asked in any case: who wrote then has not written next time.
        writer = self.writer(path)
        if change and not self.silent(path):
            self._found.append(self._event(path, before, after, writer))
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
        self,
        path: str,
        before: Record | None,
        after: Record | None,
        writer: str | None,
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
            printable(writer, 255) if writer and change in WRITTEN else None,
        )
