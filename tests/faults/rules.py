"""The rules that every scenario checks, over what was noted. Pure.

**One at most.** A node's answers, as long as no two neighbours are further apart than
`SAME_TENURE`, belong to one tenure: whoever gives the role up rests longer than that.
The node served from some moment before its first answer arrived until some moment
after its last request was sent. So [first received, last sent] is time in which it
served *for certain*, and two nodes' certain times must not touch, nor may a whole
answer (sent to received) of one lie in the certain time of another. A violation that
this finds is proven: no delay of the network or the prober can feign it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from tests.faults.records import Answer, Outcome, Write

SECOND = 1_000_000_000
SAME_TENURE = 3 * SECOND


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which the node at *address* certainly served; may be empty."""

    address: str
    begin: int
    end: int


def tenures(answers: Iterable[Answer]) -> list[list[Answer]]:
    """The answers of each tenure of each node, in the order they arrived."""
    found: list[list[Answer]] = []
    for answer in sorted(answers, key=lambda a: (a.address, a.received)):
        last = found[-1][-1] if found else None
        follows = (
            last is not None
            and last.address == answer.address
            and answer.received - last.received < SAME_TENURE
        )
        if follows:
            found[-1].append(answer)
        else:
            found.append([answer])
    return found


def certain_span(tenure: Sequence[Answer]) -> Span:
    """When the node certainly served, going by the answers of one tenure."""
    begin = min(answer.received for answer in tenure)
    end = max(answer.sent for answer in tenure)
    return Span(tenure[0].address, begin, end)


def dual_nanoseconds(answers: Iterable[Answer]) -> int:
    """For how long two nodes provably served at once."""
    spans = [certain_span(tenure) for tenure in tenures(answers)]
    return sum(
        max(0, min(one.end, other.end) - max(one.begin, other.begin))
        for one, other in combinations(spans, 2)
        if one.address != other.address
    )


def answers_inside(answers: Sequence[Answer]) -> list[Answer]:
    """Answers that fell wholly into the certain time of another node."""
    spans = [certain_span(tenure) for tenure in tenures(answers)]
    return [
        answer
        for span in spans
        for answer in answers
        if answer.address != span.address
        and span.begin <= answer.sent
        and answer.received <= span.end
    ]


def late_answers(answers: Iterable[Answer], address: str, thawed: int) -> list[Answer]:
    """What a node that was thawed then still answered to requests from before.

    Only where packets were not held up: the kernel of a frozen host sends at once
    what the process wrote before.
    """
    return [
        answer
        for answer in answers
        if answer.address == address and answer.sent < thawed <= answer.received
    ]


def epoch_errors(answers: Iterable[Answer]) -> list[str]:
    """Where websockets told of an epoch that fell, or of one epoch on two nodes."""
    hellos = sorted((a for a in answers if a.epoch), key=lambda a: a.sent)
    errors = []
    holders: dict[int, str] = {}
    highest, known_at = 0, 0
    by_arrival = sorted(hellos, key=lambda a: a.received)
    arrived = 0
    for hello in hellos:
        while by_arrival[arrived].received <= hello.sent:
            if by_arrival[arrived].epoch > highest:
                highest = by_arrival[arrived].epoch
                known_at = by_arrival[arrived].received
            arrived += 1
        if hello.epoch < highest:
            after = (hello.sent - known_at) / SECOND
            errors.append(
                f"{hello.address} answered under epoch {hello.epoch} to a request "
                f"sent {after:.3f} s after epoch {highest} was seen"
            )
        if holders.setdefault(hello.epoch, hello.address) != hello.address:
            errors.append(f"epoch {hello.epoch} was held by two nodes")
    return errors


def full_tenures(answers: Sequence[Answer]) -> set[tuple[int, str]]:
    """Epoch and address of whoever was seen to serve on both kinds of port.

    A node whose ports do not all open never was primary, though one port was open.
    """
    pinged = {(a.address, a.sent // SECOND) for a in answers if not a.epoch}
    return {
        (hello.epoch, hello.address)
        for hello in answers
        if hello.epoch and (hello.address, hello.sent // SECOND) in pinged
    }


def lost(writes: Iterable[Write], found: Iterable[int]) -> list[int]:
    """Writes that were acknowledged and are not there."""
    there = set(found)
    return [w.op for w in writes if w.outcome is Outcome.STORED and w.op not in there]


def duplicated(writes: Iterable[Write], found: Iterable[int]) -> list[int]:
    """Writes that are there more than once."""
    times = Counter(found)
    return [w.op for w in writes if times[w.op] > 1]


def stale_register(writes: Sequence[Write], value: int) -> list[int]:
    """Acknowledged writes that came after *value* was, though it is still there."""
    present = next((w for w in writes if w.op == value), None)
    if present is not None and present.outcome is not Outcome.STORED:
        return []
    since = present.ended if present else 0
    return [w.op for w in writes if w.outcome is Outcome.STORED and w.sent >= since]


def history_errors(history: Iterable[Mapping[str, Any]], since: int) -> list[str]:
    """Where the records of role changes from epoch *since* on do not fit together.

    A node that was killed leaves no record of its end; its epoch's begin is there.
    """
    records = [r for r in history if r["epoch"] >= since]
    records.sort(key=lambda r: (r["epoch"], r["time"]))
    errors = [
        f"no reason: {r['address']} -> {r['to']}" for r in records if not r["reason"]
    ]
    for one, other in pairwise(records):
        if one["epoch"] != other["epoch"]:
            continue
        if one["address"] != other["address"]:
            errors.append(f"two nodes had epoch {one['epoch']}")
        if one["to"] == other["to"]:
            errors.append(f"{one['address']} became {one['to']} twice in a row")
    return errors


def outage(writes: Iterable[Write], since: int, until: int) -> tuple[int, int]:
    """The longest time without an acknowledgement in [*since*, *until*].

    Gives when the acknowledgement came that ended it, and how long it was.
    """
    acknowledged = sorted(
        w.ended
        for w in writes
        if w.outcome is Outcome.STORED and since <= w.ended <= until
    )
    moments = [since, *acknowledged, until]
    before, after = max(pairwise(moments), key=lambda pair: pair[1] - pair[0])
    return after, after - before
