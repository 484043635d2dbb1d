"""Decide which alerts are due, from present problems and the last reports. Pure.

A problem is reported once when it begins and once when it is over. Kinds that could not
be checked now are neither reported nor considered over.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

#: If more Defenders are lost at once, one alert reports all of them.
MAX_SINGLE_DEFENDERS = 50
FLEET = "the fleet"


class CoreAlertKind(StrEnum):
    """The names of the kinds of the core; see `kinds`."""

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
    """A present problem: its kind, the affected *subject*, and a sentence."""

    kind: str
    subject: str
    sentence: str

    @property
    def key(self) -> str:
        """Return the identity of the problem over time."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """The last report of a problem; *number* counts how often the problem began."""

    problem: Problem
    number: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert; key, *number* and state together identify it."""

    problem: Problem
    number: int
    state: AlertState

    @property
    def id(self) -> str:
        """Return the id, which each attempt repeats (idempotent delivery)."""
        return f"{self.problem.key}#{self.number}:{self.state}"


def due_notices(
    problems: Collection[Problem],
    records: Mapping[str, AlertRecord],
    known: Collection[str],
) -> tuple[Notice, ...]:
    """Return the alerts that are due.

    Args:
        problems: the present problems.
        records: the last report of each problem, by the problem's key.
        known: the names of the kinds that could be checked now.

    """
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
    """Return the alert of a failover; None if it was sent, or is the first start."""
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
    """Return the problems that lasted long enough to be reported (debounce).

    Args:
        problems: the present problems.
        since: the first result of the last call: when each problem began, in ns.
        now: the present time in ns.
        min_durations_ns: the time that a problem must last, by kind.
        records: the last reports. A problem that is open there has lasted, whichever
            node reported it.

    Returns:
        *since* for the next call, and the problems.

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

    A Defender that was already *reported* on its own stays a problem of its own.
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
