"""Which connection of the Defender port may open next, and which must go."""

import pytest

from twistlock_console.system.admission import (
    FIRST_BYTE_TIMEOUT_S,
    PREEMPT_AFTER_S,
    SLOT_TIMEOUT_S,
    Admission,
    AdmissionLimits,
    group_of,
)

LIMITS = AdmissionLimits(total=100, waiting=6, opening=4, per_address=3)


def queue(*connections: str, at: float = 10.0) -> Admission[str]:
    """Return an admission with ready connections "address/number"."""
    made: Admission[str] = Admission(LIMITS)
    for each in connections:
        assert made.add(each, each.partition("/")[0], at) is None
        made.mark_ready(each, at)
    return made


def taken(admission: Admission[str], now: float = 10.0) -> list[str]:
    """Give away all free slots; return to whom."""
    given = []
    while connection := admission.take_next(now):
        given.append(connection)
    return given


def test_addresses_take_turns() -> None:
    """The first of each address comes before the second of another."""
    assert taken(queue("a/1", "a/2", "a/3", "b/1", "c/1")) == [
        "a/1",
        "b/1",
        "c/1",
        "a/2",
    ]


def test_one_address_cannot_take_all_slots() -> None:
    """Another address finds one at once, whatever is in the queue."""
    admission = queue("a/1", "a/2", "a/3", "a/4", "a/5")
    assert taken(admission) == ["a/1", "a/2", "a/3"]
    admission.add("b/1", "b", 10.0)
    admission.mark_ready("b/1", 10.0)

    assert taken(admission) == ["b/1"]


def test_silent_connections_get_no_slot() -> None:
    """They cost none: a slot is given when the first bytes arrive."""
    admission = queue("a/2")
    admission.add("a/1", "a", 10.0)

    assert taken(admission) == ["a/2"]
    assert (admission.waiting, admission.opening) == (1, 1)


def test_a_slot_is_free_again_after_the_hello_or_the_end() -> None:
    """Established connections are not counted."""
    admission = queue("a/1", "b/1", "c/1", "d/1", "e/1", "f/1")
    assert taken(admission) == ["a/1", "b/1", "c/1", "d/1"]
    admission.establish("a/1", 10.0)
    admission.discard("c/1")

    assert taken(admission) == ["e/1", "f/1"]


def test_the_greediest_address_loses_its_newest_when_too_many_wait() -> None:
    """Silent ones first; the others keep their places."""
    admission = queue("a/1", "a/2", "b/1")
    for silent in ("a/3", "a/4"):
        admission.add(silent, "a", 10.0)
    assert admission.add("b/2", "b", 10.0) is None

    assert admission.add("c/1", "c", 10.0) == "a/4"
    assert admission.add("c/2", "c", 10.0) == "a/3"
    assert admission.add("c/3", "c", 10.0) == "c/3"
    assert admission.waiting == 6


def test_a_ready_one_goes_where_none_is_silent() -> None:
    """The newest, which has waited for the shortest time."""
    admission = queue("a/1", "a/2", "a/3", "b/1", "b/2", "c/1")

    assert admission.add("c/2", "c", 10.0) == "a/3"


def test_what_ended_is_forgotten_in_any_state() -> None:
    """Also one that is not known here any more."""
    admission = queue("a/1", "a/2")
    for connection in ("a/2", "a/2", "b/1"):
        admission.discard(connection)
        admission.mark_ready(connection, 10.0)

    assert (admission.waiting, taken(admission)) == (1, ["a/1"])


def test_waiting_ends() -> None:
    """Sooner for silent connections than for those that only lack a slot."""
    admission = queue("a/1")
    admission.add("b/1", "b", 10.0)
    assert admission.pick_expired(10.0 + FIRST_BYTE_TIMEOUT_S - 1) == []
    assert admission.pick_expired(10.0 + FIRST_BYTE_TIMEOUT_S) == ["b/1"]
    assert admission.pick_expired(10.0 + SLOT_TIMEOUT_S) == ["a/1"]
    assert (admission.waiting, taken(admission)) == (0, [])


def test_an_old_opening_gives_way_when_nothing_makes_progress() -> None:
    """The oldest of the address that holds most."""
    admission = queue("a/1", "a/2", "b/1", "b/2", "c/1")
    assert taken(admission) == ["a/1", "b/1", "c/1", "a/2"]
    later = 10.0 + PREEMPT_AFTER_S

    assert admission.pick_stalled(later - 0.1) is None
    assert admission.pick_stalled(later) == "a/1"


def test_of_one_address_at_its_limit_its_own_gives_way() -> None:
    """Others have slots of their own."""
    admission = queue("a/1", "a/2", "a/3", "a/4")
    assert taken(admission) == ["a/1", "a/2", "a/3"]

    assert admission.pick_stalled(10.0 + PREEMPT_AFTER_S) == "a/1"


def test_nothing_gives_way_to_nobody() -> None:
    """Neither if none is ready, nor if there are slots."""
    assert queue().pick_stalled(100.0) is None
    assert queue("a/1").pick_stalled(100.0) is None


def test_a_busy_server_is_no_attack() -> None:
    """While Defenders get in, those before them are let finish."""
    admission = queue("a/1", "a/2", "a/3", "a/4")
    taken(admission)
    now = 10.0 + 2 * PREEMPT_AFTER_S
    admission.establish("a/2", now)
    taken(admission, now)

    assert admission.pick_stalled(now + 0.5) is None


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("a name", "a name"),
    ],
)
def test_how_addresses_are_grouped(address: str, group: str) -> None:
    """A host with IPv6 has a whole network of addresses."""
    assert group_of(address) == group


@pytest.mark.parametrize("files", [64, 256, 1024, 4096, 65_536, 1_048_576])
def test_limits_fit_in_the_file_limit(files: int) -> None:
    """With some left for the database, the log and the listening sockets."""
    limits = AdmissionLimits.for_open_files(files)

    assert limits.total <= files - min(256, files // 4)
    assert 0 < limits.per_address < limits.opening <= limits.total // 2
    assert 0 < limits.waiting <= limits.total // 2
