"""Finds denied processes within a second, and ends them where the rule says so.

It looks at /proc: at new processes several times a second, and about once a second at
all, because a process may run another program at any time. What lives for less than
a quarter of a second may be missed.
"""

import logging
import os
import threading

from twistlock_console.protocol import HostRule, ProcessEvent
from twistlock_defender.common.capabilities import Capability, may
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.errors import describe_error
from twistlock_defender.common.findings import UNNUMBERED, printable
from twistlock_defender.common.problems import Report, Troubles
from twistlock_defender.common.proc import (
    all_pids,
    command_of,
    look_at,
    owner_of,
    user_name,
)
from twistlock_defender.common.process import Process
from twistlock_defender.processes.kill import end
from twistlock_defender.processes.rules import Denied

LOOK_SECONDS = 0.2
YOUNG_SECONDS = 1.0
LOOK_AT_ALL = 4
TOPIC = "processes"
RIGHTS = "rights over processes"
log = logging.getLogger(__name__)


class ProcessWatch:
    """Enforces the processes of the rule it was given last, on a thread of its own."""

    def __init__(self, report: Report, troubles: Troubles) -> None:
        self._report = report
        self._troubles = troubles
        self._rule: HostRule | None = None
        self._current: HostRule | None = None
        self._denied = Denied(HostRule("none").processes)
        self._known: dict[int, tuple[Process, float]] = {}
        self._rights_told = True
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="processes", daemon=True)

    def open(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; returns when nothing is ended any more."""
        self._stopping = True
        self._changed.set()
        if self._thread.ident:
            self._thread.join()

    def apply(self, rule: HostRule | None) -> None:
        """Enforce *rule* from now on, on all processes that run."""
        self._rule = rule
        self._changed.set()

    def _run(self) -> None:
        round_ = 0
        while not self._stopping:
            self._try_to_look(everyone=round_ % LOOK_AT_ALL == 0)
            round_ += 1
            self._changed.wait(LOOK_SECONDS if self._denied else None)

    def _try_to_look(self, *, everyone: bool) -> None:
        try:
            if self._changed.is_set():
                self._changed.clear()
                self._take_up()
            if self._denied:
                self._look(everyone=everyone)
            if not self._rights_told:
                self._tell_rights()
        except Exception as error:
            # Hosts hold what nobody foresaw; this thread must not end for it.
            log.debug("processes cannot be looked at", exc_info=True)
            self._troubles.tell(
                TOPIC, f"processes cannot be looked at: {describe_error(error)}"
            )
        else:
            self._troubles.clear(TOPIC)

    def _take_up(self) -> None:
        rule = self._rule
        self._current = rule
        self._rights_told = False
        self._denied = Denied((rule or HostRule("none")).processes)
        self._known.clear()

    def _tell_rights(self) -> None:
        rule = self._current
        if rule and rule.processes.denied and (sentence := _powerless(rule)):
            self._troubles.tell(RIGHTS, sentence, rule.name)
        else:
            self._troubles.clear(RIGHTS)
        self._rights_told = True

    def _look(self, *, everyone: bool) -> None:
        now, pids = boottime(), all_pids()
        gone = self._known.keys() - set(pids)
        for pid in gone:
            del self._known[pid]
        found = []
        for pid in pids:
            known = self._known.get(pid)
            if known and not everyone and now - known[1] > YOUNG_SECONDS:
                continue
            process = look_at(pid)
            if process is None or (known and known[0] == process):
                continue
            if process in self._denied:
                found.append(process)
            else:
                self._known[pid] = (process, now)
        if found and self._current:
            self._act_on(found, self._current, now)

    def _act_on(self, found: list[Process], rule: HostRule, now: float) -> None:
        """Act on all of *found*; one with which that fails is found again soon."""
        events = []
        failure: Exception | None = None
        for process in found:
            try:
                events.append(_act(process, rule))
                self._known[process.pid] = (process, now)
            except Exception as error:
                failure = error
        if events:
            self._report(events)
        if failure:
            raise failure


def _act(process: Process, rule: HostRule) -> ProcessEvent:
    effect = rule.processes.effect
    # Read first: a process that was ended tells nothing.
    command, user, time = command_of(process.pid), owner_of(process.pid), utc_now()
    outcome = end(process) if effect == "prevent" else "alerted"
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
        # Not before: its name may be in a directory that does not answer.
        printable("" if user is None else user_name(user), 255),
        outcome,
    )


def _powerless(rule: HostRule) -> str | None:
    """What we cannot do to the processes of other users, if anything."""
    user = f"the Defender runs as {user_name(os.geteuid())}"
    if rule.processes.effect == "prevent" and not may(Capability.KILL):
        return (
            f"rule {rule.name} ends processes, but {user} and can end only those of "
            "that user; run it as root"
        )
    if not may(Capability.SYS_PTRACE):
        return (
            f"{user} and sees no paths of other users' processes, only what they were "
            "called by; run it as root"
        )
    return None


def _names(process: Process) -> tuple[str, int]:
    return printable(process.called or process.name, 255), process.pid
