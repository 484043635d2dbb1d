"""Tells of changes to watched files: at once by the kernel's notices, else by looking.

A baseline on disk shows what changed while the Defender did not run. Everything is
compared once a minute too, for what no notice came of.
"""

import logging
import queue
import sqlite3
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from twistlock_console.protocol import HostRule
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.errors import describe_error
from twistlock_defender.common.problems import Report, Troubles
from twistlock_defender.files.baseline import Baseline, remove
from twistlock_defender.files.compare import Comparison
from twistlock_defender.files.fanotify import Writers
from twistlock_defender.files.inotify import Notices
from twistlock_defender.files.roots import WatchedRoots
from twistlock_defender.files.rules import Record, Watched, covers
from twistlock_defender.files.scan import MOST, UNREAD, survey

COMPARE_SECONDS = 60.0
COMPARE_UNWATCHED_SECONDS = 10.0
GATHER_SECONDS = 0.1
REST_FACTOR = 20
TOPIC = "files"
ANEW = "files anew"
BASELINE = "baseline.db"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Scene:
    """All that is open while one rule is watched."""

    rule: HostRule
    watched: Watched
    baseline: Baseline
    roots: WatchedRoots
    writers: Writers


class FileWatch:
    """Watches the files of the rule it was given last, on a thread of its own.

    *folder* is the Defender's: the baseline is there, and it is never watched.
    """

    def __init__(self, folder: Path, report: Report, troubles: Troubles) -> None:
        self._folder = folder
        self._report = report
        self._troubles = troubles
        self._rule: HostRule | None = None
        self._unkept: dict[str, Record | None] = {}
        self._changed = False
        self._stopping = False
        self._paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def open(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; the baseline stays."""
        self._stopping = True
        self.apply(None)
        if self._thread.ident:
            self._thread.join()

    def apply(self, rule: HostRule | None) -> None:
        """Watch the files of *rule* from now on.

        Without any, the baseline stays for the rule that watches them next.
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
                # Hosts hold what nobody foresaw; this thread must not end for it.
                log.debug("files are not watched", exc_info=True)
                self._begin_anew_if_damaged(error)
                sentence = (
                    f"files are not watched: {describe_error(error)}; tried again soon"
                )
                self._troubles.tell(TOPIC, sentence, rule.name if rule else "")
                self._wait(COMPARE_UNWATCHED_SECONDS)
            else:
                for topic in (TOPIC, UNREAD, ANEW, MOST):
                    self._troubles.clear(topic)
                self._wait(None)

    def _begin_anew_if_damaged(self, error: Exception) -> None:
        """Damage in the middle of the baseline shows only when that is read."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with suppress(OSError):
                path = remove(self._folder / BASELINE)
                sentence = f"{path} is damaged ({error}) and is begun anew"
                self._troubles.tell(ANEW, sentence)

    def _watch(self, rule: HostRule) -> None:
        """Watch the files of *rule* until there is another one."""
        watched = Watched(rule.files, str(self._folder))
        with (
            closing(Baseline(self._folder / BASELINE, self._unkept)) as baseline,
            closing(Notices(self._paths.put)) as notices,
            closing(WatchedRoots(rule, notices, self._troubles)) as roots,
            closing(Writers()) as writers,
        ):
            scene = _Scene(rule, watched, baseline, roots, writers)
            if baseline.anew:
                self._troubles.tell(ANEW, baseline.anew)
            roots.watch()
            if self._look_at_all(scene):
                baseline.keep_roots(watched.roots)
            while not self._changed:
                gaps = roots.missing or roots.incomplete
                every = COMPARE_UNWATCHED_SECONDS if gaps else COMPARE_SECONDS
                self._examine_noticed(scene, boottime() + every)
                if not self._changed:
                    roots.watch()
                    self._look_at_all(scene)

    def _look_at_all(self, scene: _Scene) -> bool:
        """Compare everything; False if there was another rule before the end."""
        known = scene.baseline.roots()
        comparison = Comparison(
            scene.baseline,
            scene.rule,
            self._report,
            lambda path: not any(covers(r, path) for r in known),
            scene.writers.take,
        )
        whole = survey(comparison, scene.watched, self._troubles, lambda: self._changed)
        if whole:
            for folder in {*comparison.folders, *scene.roots.folders}:
                scene.writers.watch(folder)
            scene.roots.check(comparison.folders)
        return whole

    def _examine_noticed(self, scene: _Scene, until: float) -> None:
        """Examine what notices come of, until *until* or a change of the rule."""
        watched = scene.watched
        rest: dict[str, float] = {}
        waiting: set[str] = set()
        while not self._changed and (left := until - boottime()) > 0:
            waiting |= self._gather(min(left, 1.0) if waiting else left)
            comparison = Comparison(
                scene.baseline, scene.rule, self._report, writer=scene.writers.take
            )
            for path in sorted(waiting):
                began = boottime()
                if path in watched and rest.get(path, 0) > began:
                    continue
                waiting.discard(path)
                if path in watched:
                    comparison.examine(path)
                    # A large file that is written to all the time may cost little only.
                    rest[path] = boottime() + REST_FACTOR * (boottime() - began)
            comparison.settle()

    def _gather(self, seconds: float) -> set[str]:
        """The paths that come within *seconds*, and shortly after the first."""
        try:
            first = self._paths.get(timeout=seconds)
        except queue.Empty:
            return set()
        if first is not None and not self._changed:
            time.sleep(GATHER_SECONDS)
        paths = {first}
        while not self._paths.empty():
            paths.add(self._paths.get())
        return {path for path in paths if path is not None}

    def _wait(self, seconds: float | None) -> None:
        """Until the rule changes, or *seconds* are over."""
        until = None if seconds is None else boottime() + seconds
        # The end may have been asked for while the last change was being taken up.
        while not (self._changed or self._stopping):
            if until is not None and boottime() >= until:
                return
            with suppress(queue.Empty):
                self._paths.get(timeout=seconds)
