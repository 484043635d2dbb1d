"""Report changes of watched files: at once by notifications, else by scans.

The baseline on disk shows changes while the Defender did not run. A scan compares
everything once a minute, for changes without a notification.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from twistlock_console.protocol import UNNUMBERED, FileEvent, HostRule
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.errors import describe_error, is_corruption
from twistlock_defender.common.problems import Problems, Report, printable
from twistlock_defender.files.baseline import Baseline, delete_baseline
from twistlock_defender.files.fanotify import WriterTracker
from twistlock_defender.files.inotify import InotifyWatcher, WatchedRoots
from twistlock_defender.files.rules import FileRecord, Watched, covers, find_change
from twistlock_defender.files.snapshot import read_record, read_stamp, walk

SCAN_INTERVAL_S = 60.0
UNWATCHED_SCAN_INTERVAL_S = 10.0
DEBOUNCE_S = 0.1
PAUSE_FACTOR = 20
BATCH_SIZE = 200
MAX_FILES = 100_000
WRITTEN = ("created", "modified")
BASELINE_FILE = "baseline.db"
NOT_WATCHED, REBUILT = "files", "files rebuilt"
TOO_MANY, UNREAD = "files most", "files that cannot be read"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _WatchState:
    """The open resources while one rule is watched."""

    rule: HostRule
    watched: Watched
    baseline: Baseline
    roots: WatchedRoots
    writers: WriterTracker


class FileMonitor:
    """Watches the files of the present rule, on a thread of its own.

    *folder* is the Defender's: it holds the baseline, and is never watched.
    """

    def __init__(self, folder: Path, report: Report, problems: Problems) -> None:
        self._folder = folder
        self._report = report
        self._problems = problems
        self._rule: HostRule | None = None
        self._unsaved: dict[str, FileRecord | None] = {}
        self._changed = False
        self._stopping = False
        self._paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for its end; keep the baseline."""
        self._stopping = True
        self.apply(None)
        if self._thread.ident:
            self._thread.join()

    def apply(self, rule: HostRule | None) -> None:
        """Watch the files of *rule* from now on; None to watch nothing.

        The baseline is kept for the next rule.
        """
        self._rule = rule
        self._changed = True
        self._paths.put(None)

    def _run(self) -> None:
        while not self._stopping:
            self._changed = False
            rule = self._rule
            try:
                if rule and rule.files.paths:
                    self._watch(rule)
            except Exception as error:
                # No unexpected error may end this thread.
                log.debug("files are not watched", exc_info=True)
                self._rebuild_if_damaged(error)
                sentence = (
                    f"files are not watched: {describe_error(error)}; retried soon"
                )
                self._problems.add(NOT_WATCHED, sentence, rule.name if rule else "")
                self._wait(UNWATCHED_SCAN_INTERVAL_S)
            else:
                for topic in (NOT_WATCHED, UNREAD, REBUILT, TOO_MANY):
                    self._problems.clear(topic)
                self._wait(None)

    def _rebuild_if_damaged(self, error: Exception) -> None:
        """Delete a damaged baseline: some damage shows only when it is read."""
        if is_corruption(error):
            with suppress(OSError):
                path = delete_baseline(self._folder / BASELINE_FILE)
                sentence = f"{path} is damaged ({error}) and is rebuilt"
                self._problems.add(REBUILT, sentence)

    def _watch(self, rule: HostRule) -> None:
        """Watch the files of *rule* until the rule changes."""
        watched = Watched(rule.files, str(self._folder))
        with (
            closing(Baseline(self._folder / BASELINE_FILE, self._unsaved)) as baseline,
            closing(InotifyWatcher(self._paths.put)) as watcher,
            closing(WatchedRoots(rule, watcher, self._problems)) as roots,
            closing(WriterTracker()) as writers,
        ):
            state = _WatchState(rule, watched, baseline, roots, writers)
            if baseline.rebuilt:
                self._problems.add(REBUILT, baseline.rebuilt)
            roots.watch()
            if self._compare_all(state):
                baseline.save_roots(watched.roots)
            while not self._changed:
                gaps = roots.unwatched_roots or roots.incomplete
                every = UNWATCHED_SCAN_INTERVAL_S if gaps else SCAN_INTERVAL_S
                self._compare_notified(state, boottime() + every)
                if not self._changed:
                    roots.watch()
                    self._compare_all(state)

    def _compare_all(self, state: _WatchState) -> bool:
        """Compare everything; return False if the rule changed before the end."""
        known = state.baseline.roots()
        comparison = Comparison(
            state.baseline,
            state.rule,
            self._report,
            lambda path: not any(covers(r, path) for r in known),
            state.writers.pop_writer,
        )
        whole = scan(comparison, state.watched, self._problems, lambda: self._changed)
        if whole:
            for folder in {*comparison.folders, *state.roots.folders}:
                state.writers.watch(folder)
            state.roots.check(comparison.folders)
        return whole

    def _compare_notified(self, state: _WatchState, until: float) -> None:
        """Compare the paths of notifications, until *until* or a change of the rule.

        A path that is slow to compare is paused in proportion (throttle).
        """
        watched = state.watched
        paused: dict[str, float] = {}
        waiting: set[str] = set()
        while not self._changed and (left := until - boottime()) > 0:
            waiting |= self._debounce(min(left, 1.0) if waiting else left)
            comparison = Comparison(
                state.baseline,
                state.rule,
                self._report,
                find_writer=state.writers.pop_writer,
            )
            for path in sorted(waiting):
                began = boottime()
                if path in watched and paused.get(path, 0) > began:
                    continue
                waiting.discard(path)
                if path in watched:
                    comparison.compare(path)
                    # Bound the cost of a large file that is written all the time.
                    paused[path] = boottime() + PAUSE_FACTOR * (boottime() - began)
            comparison.flush()

    def _debounce(self, seconds: float) -> set[str]:
        """Return the paths of a burst of notifications (debounce).

        Wait at most *seconds* for the first, then collect for DEBOUNCE_S.
        """
        try:
            first = self._paths.get(timeout=seconds)
        except queue.Empty:
            return set()
        if first is not None and not self._changed:
            time.sleep(DEBOUNCE_S)
        paths = {first}
        while not self._paths.empty():
            paths.add(self._paths.get())
        return {path for path in paths if path is not None}

    def _wait(self, seconds: float | None) -> None:
        """Wait until the rule changes, or for *seconds* if not None."""
        until = None if seconds is None else boottime() + seconds
        # A stop may have been requested while the last change was processed.
        while not (self._changed or self._stopping):
            if until is not None and boottime() >= until:
                return
            with suppress(queue.Empty):
                self._paths.get(timeout=seconds)


def scan(
    comparison: "Comparison",
    watched: Watched,
    problems: Problems,
    stopped: Callable[[], bool],
) -> bool:
    """Compare all *watched* files; return False if *stopped* returned True."""
    unread, folders = comparison.unread, comparison.folders
    roots = (walk(root, watched, unread, folders) for root in watched.roots)
    paths = chain.from_iterable(roots)
    for path in islice(paths, MAX_FILES):
        comparison.compare_if_touched(path)
        if stopped():
            comparison.flush()
            return False
    name = comparison.rule.name
    if next(paths, None):
        sentence = f"rule {name} watches more than {MAX_FILES:,} files; "
        problems.add(TOO_MANY, sentence + "the others are not watched", name)
    _compare_missing(comparison, watched)
    if unread:
        # Without the number: a constant sentence is reported once.
        sentence = f"watched files cannot be read, {min(unread)} for one; "
        problems.add(UNREAD, sentence + "run the Defender as root", name)
    else:
        problems.clear(UNREAD)
    return True


def _compare_missing(comparison: "Comparison", watched: Watched) -> None:
    """Report deleted files of the baseline; drop files that are no longer watched."""
    baseline = comparison.baseline
    for path in baseline.paths():
        if path not in watched:
            baseline.save([(path, None)])
        elif not os.path.lexists(path):
            comparison.compare(path)
    comparison.flush()


@dataclass(slots=True)
class Comparison:
    """Compares files with *baseline*; reports changes, then saves them to it.

    Attributes:
        baseline: the baseline.
        rule: the rule that watches the files.
        report: receives the events of changes.
        is_unknown: returns True for a path that had no baseline; it is not reported.
        find_writer: returns the last writer of a path, if known.
        unread: collects the paths that the Defender may not read.
        folders: collects the folders that were scanned.

    """

    baseline: Baseline
    rule: HostRule
    report: Report
    is_unknown: Callable[[str], bool] = lambda path: False
    find_writer: Callable[[str], str | None] = lambda path: None
    unread: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    _found: list[FileEvent] = field(default_factory=list)
    _records: list[tuple[str, FileRecord | None]] = field(default_factory=list)

    def compare(self, path: str) -> None:
        """Compare *path* and queue the event of a change."""
        before = self.baseline.get(path)
        try:
            after = read_record(path)
        except OSError:
            self.unread.append(path)
            return
        if before == after:
            return
        # Always query the writer: it must not be attributed to the next change.
        find_writer = self.find_writer(path)
        event = self._event(path, before, after, find_writer)
        if event and not self.is_unknown(path):
            self._found.append(event)
        self._records.append((path, after))
        if len(self._records) >= BATCH_SIZE:
            self.flush()

    def compare_if_touched(self, path: str) -> None:
        """Compare *path* if its stamp differs from the baseline."""
        try:
            stamp = read_stamp(path)
        except OSError:
            self.unread.append(path)
            return
        before = self.baseline.get(path)
        if before is None or before.stamp != stamp or not stamp:
            self.compare(path)

    def flush(self) -> None:
        """Report the queued events, then save their files to the baseline."""
        if self._found:
            self.report(self._found)
        self.baseline.save(self._records)
        self._found, self._records = [], []

    def _event(
        self,
        path: str,
        before: FileRecord | None,
        after: FileRecord | None,
        find_writer: str | None,
    ) -> FileEvent | None:
        change = find_change(before, after)
        shown = after or before
        if change is None or shown is None:
            return None
        return FileEvent(
            UNNUMBERED,
            utc_now(),
            self.rule.name,
            self.rule.files.effect,
            printable(path, 4096),
            change,
            before.hash or None if before else None,
            after.hash or None if after else None,
            shown.mode,
            printable(shown.owner, 255),
            printable(find_writer, 255) if find_writer and change in WRITTEN else None,
        )
