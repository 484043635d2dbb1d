"""Decide which alert is due, from the problems of now and the last reports. Pure.

A problem is reported once when it begins and once when it is over. What could not be
looked at now is neither reported nor taken for over.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

#: With more Defenders lost at once they are reported as one.
MAX_SINGLE_DEFENDERS = 50
FLEET = "the fleet"


class CoreAlertKind(StrEnum):
    """The kinds of the core, by the names of their triggers; see `kinds`."""

    FAILOVER = "failover"
    BACKUP_FAILED = "backupFailed"
    CERTIFICATE_END = "certificateEnd"
    DEFENDERS_LOST = "defendersLost"
    TEST = "test"


class AlertState(StrEnum):
    """The state of a problem that an alert reports."""

    RAISED = "raised"
    RECOVERED = "recovered"
    HAPPENED = "happened"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong now: what, of whom, and a sentence on it."""

    kind: str
    subject: str
    sentence: str

    @property
    def key(self) -> str:
        """Return what makes it the same problem as before."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """The last report of a problem; *number* counts how often it began."""

    problem: Problem
    number: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert; *number* with the key and the state tells it from every other."""

    problem: Problem
    number: int
    state: AlertState

    @property
    def id(self) -> str:
        """Return what is the same for each attempt to send it, and for no other."""
        return f"{self.problem.key}#{self.number}:{self.state}"


def due_notices(
    problems: Collection[Problem],
    records: Mapping[str, AlertRecord],
    known: Collection[str],
) -> tuple[Notice, ...]:
    """Return the alerts that are due, if *known* are the kinds that were looked at."""
    now = {problem.key: problem for problem in problems}
    begun = tuple(
        Notice(
            problem, records[key].number + 1 if key in records else 1, AlertState.RAISED
        )
        for key, problem in now.items()
        if key not in records or not records[key].is_open
    )
    over = tuple(
        Notice(each.problem, each.number, AlertState.RECOVERED)
        for key, each in records.items()
        if each.is_open and key not in now and each.problem.kind in known
    )
    return begun + over


def failover_notice(
    last_alerted_epoch: int | None, epoch: int, sentence: str
) -> Notice | None:
    """Return the alert of a takeover, unless it was sent or is the first ever."""
    if last_alerted_epoch is None or epoch <= last_alerted_epoch:
        return None
    problem = Problem(CoreAlertKind.FAILOVER, "the Console", sentence)
    return Notice(problem, epoch, AlertState.HAPPENED)


def filter_by_duration(
    problems: Collection[Problem],
    since: Mapping[str, int],
    now: int,
    min_durations_ns: Mapping[str, int],
    records: Mapping[str, AlertRecord],
) -> tuple[dict[str, int], tuple[Problem, ...]]:
    """Return since when each problem is seen, and those that lasted long enough.

    Times are nanoseconds; *patience* says how long a kind must last. What is open in
    *records* has lasted, whichever node sent it and however short it is seen here.
    """
    seen = {problem.key: since.get(problem.key, now) for problem in problems}
    still_open = {key for key, each in records.items() if each.is_open}
    old_enough = tuple(
        problem
        for problem in problems
        if problem.key in still_open
        or now - seen[problem.key] >= min_durations_ns.get(problem.kind, 0)
    )
    return seen, old_enough


def lost_defender_problems(
    lost: Collection[str], reported: Collection[str]
) -> list[Problem]:
    """Return a problem for each of the *lost* Defenders, or one for many.

    Those that were *reported* already stay problems of their own.
    """
    singly = sorted(
        lost if len(lost) <= MAX_SINGLE_DEFENDERS else {*lost} & {*reported}
    )
    problems = [
        Problem(
            CoreAlertKind.DEFENDERS_LOST, name, f"the Defender {name} is not connected"
        )
        for name in singly
    ]
    if len(lost) > MAX_SINGLE_DEFENDERS:
        sentence = f"{len(lost)} Defenders are not connected"
        problems.append(Problem(CoreAlertKind.DEFENDERS_LOST, FLEET, sentence))
    return problems
