"""Find denied processes within a second, and kill them if the rule says so.

The monitor scans /proc: new processes several times a second, and all processes about
once a second, because a process may execute another program at any time. A process that
runs for less than a quarter of a second may be missed.
"""

import logging
import os
import threading

from twistlock_console.protocol import UNNUMBERED, HostRule, ProcessEvent
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.errors import describe_error
from twistlock_defender.common.problems import Problems, Report, printable
from twistlock_defender.common.rights import Capability, has_capability, user_name
from twistlock_defender.processes.proc import (
    kill_process,
    list_pids,
    read_command,
    read_owner,
    read_process,
)
from twistlock_defender.processes.rules import Denied, Process

SCAN_INTERVAL_S = 0.2
YOUNG_PROCESS_S = 1.0
FULL_SCAN_EVERY = 4
SCAN_TOPIC = "processes"
RIGHTS_TOPIC = "rights over processes"
log = logging.getLogger(__name__)


class ProcessMonitor:
    """Enforces the process part of the present rule, on a thread of its own."""

    def __init__(self, report: Report, problems: Problems) -> None:
        self._report = report
        self._problems = problems
        self._rule: HostRule | None = None
        self._current: HostRule | None = None
        self._denied = Denied(HostRule("none").processes)
        self._known: dict[int, tuple[Process, float]] = {}
        self._rights_checked = True
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="processes", daemon=True)

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopping = True
        self._changed.set()
        if self._thread.ident:
            self._thread.join()

    def apply(self, rule: HostRule | None) -> None:
        """Enforce *rule* from now on, also on running processes."""
        self._rule = rule
        self._changed.set()

    def _run(self) -> None:
        scans = 0
        while not self._stopping:
            self._try_scan(is_full=scans % FULL_SCAN_EVERY == 0)
            scans += 1
            self._changed.wait(SCAN_INTERVAL_S if self._denied else None)

    def _try_scan(self, *, is_full: bool) -> None:
        try:
            if self._changed.is_set():
                self._changed.clear()
                self._load_rule()
            if self._denied:
                self._scan(is_full=is_full)
            if not self._rights_checked:
                self._check_rights()
        except Exception as error:
            # No unexpected error may end this thread.
            log.debug("processes cannot be scanned", exc_info=True)
            self._problems.add(
                SCAN_TOPIC, f"processes cannot be scanned: {describe_error(error)}"
            )
        else:
            self._problems.clear(SCAN_TOPIC)

    def _load_rule(self) -> None:
        rule = self._rule
        self._current = rule
        self._rights_checked = False
        self._denied = Denied((rule or HostRule("none")).processes)
        self._known.clear()

    def _check_rights(self) -> None:
        rule = self._current
        if rule and rule.processes.denied and (sentence := _missing_rights(rule)):
            self._problems.add(RIGHTS_TOPIC, sentence, rule.name)
        else:
            self._problems.clear(RIGHTS_TOPIC)
        self._rights_checked = True

    def _scan(self, *, is_full: bool) -> None:
        now, pids = boottime(), list_pids()
        gone = self._known.keys() - set(pids)
        for pid in gone:
            del self._known[pid]
        found = []
        for pid in pids:
            known = self._known.get(pid)
            if known and not is_full and now - known[1] > YOUNG_PROCESS_S:
                continue
            process = read_process(pid)
            if process is None or (known and known[0] == process):
                continue
            if process in self._denied:
                found.append(process)
            else:
                self._known[pid] = (process, now)
        if found and self._current:
            self._enforce_all(found, self._current, now)

    def _enforce_all(self, found: list[Process], rule: HostRule, now: float) -> None:
        """Enforce *rule* on all of *found*; the next scan retries failures."""
        events = []
        failure: Exception | None = None
        for process in found:
            try:
                events.append(_enforce(process, rule))
                self._known[process.pid] = (process, now)
            except Exception as error:
                failure = error
        if events:
            self._report(events)
        if failure:
            raise failure


def _enforce(process: Process, rule: HostRule) -> ProcessEvent:
    effect = rule.processes.effect
    # Read first: the files of an ended process are empty.
    command, user, time = read_command(process.pid), read_owner(process.pid), utc_now()
    outcome = kill_process(process) if effect == "prevent" else "alerted"
    log.warning("%s (%d), which %s denies: %s", *_names(process), rule.name, outcome)
    return ProcessEvent(
        UNNUMBERED,
        time,
        rule.name,
        effect,
        process.pid,
        printable(process.path, 4096),
        printable(process.name, 255),
        printable(command, 1024),
        # Last: the user's name may be in a directory service that does not answer.
        printable("" if user is None else user_name(user), 255),
        outcome,
    )


def _missing_rights(rule: HostRule) -> str | None:
    """Return a sentence on missing capabilities; None if none is missing."""
    user = f"the Defender runs as {user_name(os.geteuid())}"
    if rule.processes.effect == "prevent" and not has_capability(Capability.KILL):
        return (
            f"rule {rule.name} ends processes, but {user} and can end only those of "
            "that user; run it as root"
        )
    if not has_capability(Capability.SYS_PTRACE):
        return (
            f"{user} and sees no paths of other users' processes, only the names that "
            "they were started with; run it as root"
        )
    return None


def _names(process: Process) -> tuple[str, int]:
    return printable(process.invoked_as or process.name, 255), process.pid
