"""The checker itself: it finds what is planted, and nothing else."""

import pytest

from tests.faults import rules
from tests.faults.records import Answer, Outcome, Write

MS = 1_000_000


def answer(address: str, sent: int, received: int, epoch: int = 0) -> Answer:
    """An answer; times in milliseconds."""
    return Answer("kept", address, sent * MS, received * MS, epoch)


def write(op: int, sent: int, ended: int, outcome: Outcome = Outcome.STORED) -> Write:
    """A write; times in milliseconds."""
    return Write(op, "a", sent * MS, ended * MS, outcome)


def test_two_tenures_that_follow_each_other_are_no_dual_serving() -> None:
    """One node's last answer before another's first proves nothing."""
    seen = [answer("a", 0, 5), answer("a", 10, 15), answer("b", 20, 25)]

    assert rules.dual_nanoseconds(seen) == 0
    assert rules.answers_inside(seen) == []


def test_an_answer_between_two_of_another_node_is_proof() -> None:
    """Whoever answered before and after served in between as well."""
    between = answer("b", 20, 25)
    seen = [answer("a", 0, 5), between, answer("a", 30, 35)]

    assert rules.answers_inside(seen) == [between]


def test_overlapping_tenures_are_measured() -> None:
    """Two nodes served from the later's first answer to the earlier's last request."""
    a = [answer("a", at, at + 5) for at in range(0, 100, 10)]
    b = [answer("b", at, at + 5) for at in range(50, 200, 10)]

    assert rules.dual_nanoseconds(a + b) == (90 - 55) * MS


def test_an_answer_that_may_be_older_is_no_proof() -> None:
    """A request sent before the other node took over may have been answered then."""
    seen = [answer("a", 0, 100), answer("b", 20, 25), answer("b", 80, 120)]

    assert rules.dual_nanoseconds(seen) == 0
    assert rules.answers_inside(seen) == []


def test_a_node_may_serve_again_later() -> None:
    """Answers far apart are two tenures, between which others may serve."""
    seen = [answer("a", 0, 5), answer("b", 1000, 1005), answer("a", 9000, 9005)]

    assert rules.answers_inside(seen) == []


def test_a_thawed_node_answers_nothing_from_before() -> None:
    """Only an answer that arrives after the thaw to an earlier request is late."""
    late = answer("a", 10, 6010)
    seen = [answer("a", 0, 5), late, answer("a", 6020, 6025), answer("b", 10, 6010)]

    assert rules.late_answers(seen, "a", 6000 * MS) == [late]


@pytest.mark.parametrize(
    ("seen", "errors"),
    [
        ([answer("a", 0, 5, 1), answer("b", 10, 15, 2)], 0),
        ([answer("b", 0, 5, 2), answer("a", 10, 15, 1)], 1),
        ([answer("b", 0, 20, 2), answer("a", 10, 15, 1)], 0),
        ([answer("a", 0, 5, 1), answer("b", 10, 15, 1)], 1),
    ],
    ids=["rises", "falls", "at the same time", "held by two"],
)
def test_epochs_only_rise(seen: list[Answer], errors: int) -> None:
    """No request sent after an epoch was seen is answered under a lower one."""
    assert len(rules.epoch_errors(seen)) == errors


def test_a_node_whose_ports_do_not_all_open_had_no_tenure() -> None:
    """A websocket alone, without a ping in the same second, is not the role."""
    seen = [answer("a", 0, 5, 1), answer("a", 10, 15), answer("b", 3000, 3005, 2)]

    assert rules.full_tenures(seen) == {(1, "a")}


def test_what_was_acknowledged_must_be_there_once() -> None:
    """A write of unknown outcome may be there or not, but never twice."""
    writes = [
        write(1, 0, 5),
        write(2, 10, 15),
        write(3, 20, 25, Outcome.UNKNOWN),
        write(4, 30, 35, Outcome.UNKNOWN),
    ]

    assert rules.lost(writes, [1, 3]) == [2]
    assert rules.duplicated(writes, [1, 2, 3, 3]) == [3]


def test_the_register_holds_the_last_acknowledged_write_or_a_later_one() -> None:
    """A value must not survive a write that began after it was acknowledged."""
    writes = [write(1, 0, 5), write(2, 3, 9), write(3, 20, 25)]

    assert rules.stale_register(writes, 3) == []
    assert rules.stale_register(writes, 1) == [3]
    assert rules.stale_register(writes[:2], 1) == []
    assert rules.stale_register(writes, 999) == [1, 2, 3]


def test_each_change_of_role_has_one_record() -> None:
    """A second record of a change, a second holder and a missing reason are found."""
    first = {"time": "1", "address": "a", "to": "primary", "epoch": 1, "reason": "x"}
    left = {**first, "time": "2", "to": "standby"}
    second = {**first, "time": "3", "address": "b", "epoch": 2}

    assert rules.history_errors([second, left, first], since=1) == []
    assert len(rules.history_errors([first, {**first, "time": "2"}], since=1)) == 1
    assert len(rules.history_errors([first, {**left, "address": "b"}], since=1)) == 1
    assert len(rules.history_errors([{**first, "reason": ""}], since=1)) == 1
    assert rules.history_errors([{**first, "reason": ""}], since=2) == []


def test_the_longest_time_without_acknowledgement_is_the_outage() -> None:
    """It counts from the fault, and ends with the acknowledgement that comes then."""
    writes = [write(1, 0, 5), write(2, 10, 500), write(3, 510, 515)]

    assert rules.outage(writes, 0, 600 * MS) == (500 * MS, 495 * MS)
