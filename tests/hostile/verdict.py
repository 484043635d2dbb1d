"""The judgement of an attack, from what honest clients noted. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.hostile.records import Answer, Closing, Cut, Record

#: An honest request counts as answered within this time, on an idle machine.
IN_TIME_MS = 2000
WANTED_PERCENT = 95.0
MAX_SERVER_MIB = 250
GOOD = "200"
UNENDED = "no answer"
#: A login beyond the bound is told to try again; that is an answer, if it is in time.
BUSY = "503"
CUT_LOGIN = "right login: cut"
MAX_CUT_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cluster under attack, on a machine of this *slowness*."""

    name: str
    records: Sequence[Record]
    epochs: tuple[int, int]
    memory_mib: dict[str, int]
    attack: dict[str, int]
    slowness: float = 1.0

    @property
    def answers(self) -> list[Answer]:
        """The honest requests that were sent, but for those under way and not late."""
        return [
            each
            for each in self.records
            if isinstance(each, Answer)
            and (each.outcome != UNENDED or self.is_late(each))
        ]

    def is_late(self, answer: Answer) -> bool:
        """Return whether the request took too long."""
        return answer.took_ms > IN_TIME_MS * self.slowness

    def is_good(self, answer: Answer) -> bool:
        """Return whether the request was answered, as it should be, in time."""
        good = answer.outcome == GOOD
        if answer.kind.endswith("login"):
            good = good or answer.outcome == BUSY
        return good and not self.is_late(answer)

    @property
    def cuts(self) -> list[Cut]:
        """The honest sessions that were cut."""
        return [each for each in self.records if isinstance(each, Cut)]

    @property
    def closings(self) -> list[Closing]:
        """The ports that closed."""
        return [each for each in self.records if isinstance(each, Closing)]

    @property
    def percent_in_time(self) -> float:
        """How many of a hundred honest requests were answered in time."""
        answers = self.answers
        return 100 * sum(map(self.is_good, answers)) / len(answers) if answers else 0.0

    @property
    def role_changes(self) -> int:
        """How often the role moved."""
        return self.epochs[1] - self.epochs[0]

    @property
    def largest_mib(self) -> int:
        """The memory of the largest server process, in MiB."""
        return max(self.memory_mib.values(), default=0)


def percentile_ms(answers: Sequence[Answer], part: float) -> int:
    """Return the time within which *part* of the requests ended; 0 of none."""
    took = sorted(answer.took_ms for answer in answers)
    return took[min(len(took) - 1, int(part * len(took)))] if took else 0


def by_kind(answers: Iterable[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    """Group the requests by their kind."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.kind, []).append(answer)
    return iter(sorted(found.items()))


def broken_rules(outcome: Outcome) -> list[str]:
    """Return a sentence for each rule that did not hold."""
    return list(_broken(outcome))


def _broken(outcome: Outcome) -> Iterator[str]:
    if outcome.percent_in_time < WANTED_PERCENT:
        percent = f"{outcome.percent_in_time:.1f} %"
        yield f"{percent} answered within 2 s ({_failures(outcome)})"
    if outcome.role_changes:
        first, last = outcome.epochs
        yield f"the role moved: epoch {first} became {last}"
    yield from (f"port {c.port} of {c.address} closed" for c in outcome.closings[:3])
    yield from (f"cut: {cut.what}: {cut.reason}" for cut in outcome.cuts[:3])
    large = {n: m for n, m in outcome.memory_mib.items() if m > MAX_SERVER_MIB}
    yield from (f"{name} took {mib} MiB" for name, mib in large.items())
    forbidden = {w: n for w, n in outcome.attack.items() if is_forbidden(w)}
    if not _many_are_cut(outcome.attack):
        forbidden.pop(CUT_LOGIN, None)
    yield from (f"the attack: {what} ({n} times)" for what, n in forbidden.items())


def _many_are_cut(attack: Mapping[str, int]) -> bool:
    """Return whether more logins were cut than where an address has its connections.

    Beside other attacks from the same address some find that it has no more.
    """
    logins = sum(n for what, n in attack.items() if what.startswith("right login: "))
    return attack.get(CUT_LOGIN, 0) > MAX_CUT_SHARE * logins


def _failures(outcome: Outcome) -> str:
    """Return what became of the requests that were not answered in time."""
    bad = Counter(
        f"{each.kind}: {each.outcome}" + (" late" if each.outcome == GOOD else "")
        for each in outcome.answers
        if not outcome.is_good(each)
    )
    return ", ".join(f"{count} {what}" for what, count in bad.most_common(6))


def is_forbidden(what: str) -> bool:
    """Return whether this outcome of an attack must never be."""
    name, _, outcome = what.partition(": ")
    if name == "right login":
        return outcome not in ("200", "503")
    return outcome == "let in" or (outcome == "greeted" and "revoked" in name)
