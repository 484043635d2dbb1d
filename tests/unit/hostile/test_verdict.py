"""The judge of attacks judges right, and attacks go to test hosts only."""

from pathlib import Path

import pytest

from tests.hostile.attacker import Attacker, NotATestHost
from tests.hostile.records import Answer, Closing, Cut, Record, read_records
from tests.hostile.verdict import Outcome, broken_rules, percentile_ms

GOOD = Answer("ping", 1, 20, "200")


def outcome(
    *records: Record,
    epochs: tuple[int, int] = (3, 3),
    mib: int = 100,
    attack: str = "slow body: 408",
) -> Outcome:
    """Return what a judge sees: 99 good answers, and *records*."""
    return Outcome("x", [GOOD] * 99 + [*records], epochs, {"server": mib}, {attack: 1})


def test_a_cluster_that_bore_it_broke_no_rule() -> None:
    """One late answer of a hundred is allowed, and a login that is told to wait."""
    late = Answer("users", 1, 2001, "200")
    busy = Answer("login", 1, 10, "503")

    assert broken_rules(outcome(late, busy)) == []


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (
            outcome(*[Answer("users", 1, 2001, "200")] * 6),
            "94.3 % answered within 2 s (6 users: 200 late)",
        ),
        (
            outcome(*[Answer("users", 1, 10, "503")] * 6),
            "94.3 % answered within 2 s (6 users: 503)",
        ),
        (
            outcome(*[Answer("ping", 1, 9999, "no answer")] * 6),
            "94.3 % answered within 2 s (6 ping: no answer)",
        ),
        (outcome(epochs=(3, 5)), "the role moved: epoch 3 became 5"),
        (outcome(Closing("10.0.0.1", 8084, 1)), "port 8084 of 10.0.0.1 closed"),
        (outcome(Cut("Defender", 1, "reset")), "cut: Defender: reset"),
        (outcome(mib=251), "server took 251 MiB"),
        (outcome(attack="right login: 429"), "the attack: right login: 429 (1 times)"),
        (outcome(attack="right login: cut"), "the attack: right login: cut (1 times)"),
        (outcome(attack="27017: let in"), "the attack: 27017: let in (1 times)"),
        (
            outcome(attack="8084 frame of revoked: greeted"),
            "the attack: 8084 frame of revoked: greeted (1 times)",
        ),
    ],
)
def test_each_broken_rule_has_a_sentence(seen: Outcome, sentence: str) -> None:
    """Late, refused, moved, closed, cut, large, or let in."""
    assert broken_rules(seen) == [sentence]


def test_few_logins_may_be_cut() -> None:
    """An address that holds as many connections as one may gets no more."""
    few = Outcome(
        "x",
        [Answer("ping", 1, 1, "200")],
        (1, 1),
        {},
        {
            "right login: 200": 99,
            "right login: cut": 1,
        },
    )

    assert broken_rules(few) == []


def test_without_any_answer_nothing_is_good() -> None:
    """No request at all is not a hundred percent."""
    assert Outcome("x", [], (1, 1), {}, {}).percent_in_time == 0.0
    assert percentile_ms([], 0.99) == 0


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """The judge reads while honest clients still write."""
    notes = tmp_path / "notes"
    notes.write_text(
        '{"record": "Cut", "what": "x", "at": 1, "reason": "y"}\n{"record": "An'
    )

    assert list(read_records(notes)) == [Cut("x", 1, "y")]


@pytest.mark.parametrize("address", ["192.0.2.1", "8.8.8.8", "10.0.0.11", "::2"])
def test_other_hosts_are_not_attacked(tmp_path: Path, address: str) -> None:
    """Only loopback and the switch of the test hosts are."""
    with pytest.raises(NotATestHost):
        Attacker(["127.0.0.1", address], tmp_path)
