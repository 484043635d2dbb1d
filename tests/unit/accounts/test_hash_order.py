"""Rules of the order in which passwords are checked. Pure."""

import pytest

from twistlock_console.accounts.login_throttle import (
    MAX_ADDRESSES,
    HashCaller,
    HashOrder,
    HashQueueFull,
)

KNOWN = HashCaller("192.0.2.1", is_known=True, is_login=True)


def stranger(address: str) -> HashCaller:
    """Return a login from an address that is not known for the account."""
    return HashCaller(address, is_known=False, is_login=True)


def order(*callers: HashCaller, places: int = 10) -> HashOrder[str]:
    """Return an order in which these callers wait, named by their numbers."""
    made: HashOrder[str] = HashOrder(places, 2)
    for number, caller in enumerate(callers):
        assert made.add(caller, str(number)) is None
    return made


def taken(waiting: HashOrder[str]) -> list[str]:
    """Return all that wait, in the order of their turns."""
    found = []
    while (item := waiting.take()) is not None:
        found.append(item)
    return found


def test_one_address_is_served_in_the_order_of_arrival() -> None:
    """As in any queue."""
    assert taken(order(*[stranger("a")] * 3)) == ["0", "1", "2"]


def test_addresses_take_turns() -> None:
    """However many logins each has waiting."""
    callers = [stranger(address) for address in "aaabbc"]

    assert taken(order(*callers)) == ["0", "3", "5", "1", "4", "2"]


def test_who_is_known_comes_first() -> None:
    """Before all strangers, whenever it came."""
    assert taken(order(stranger("a"), stranger("b"), KNOWN)) == ["2", "0", "1"]


def test_every_third_turn_is_for_a_stranger() -> None:
    """However many logins those that are known have waiting."""
    waiting = order(*[KNOWN] * 6, stranger("a"), stranger("b"))

    assert taken(waiting) == ["0", "1", "6", "2", "3", "7", "4", "5"]


def test_what_gave_up_gets_no_turn() -> None:
    """Nor does removing it twice do harm."""
    waiting = order(stranger("a"), stranger("a"))
    first, second = "first", "second"
    waiting.add(stranger("a"), first)
    waiting.remove(first)
    waiting.remove(second)

    assert len(waiting) == 2
    assert taken(waiting) == ["0", "1"]


def test_without_a_place_a_stranger_is_turned_away() -> None:
    """Where no address has more than its share."""
    waiting = order(stranger("a"), stranger("b"), places=2)

    with pytest.raises(HashQueueFull):
        waiting.add(stranger("c"), "c")
    with pytest.raises(HashQueueFull):
        waiting.add(stranger("a"), "a")
    assert len(waiting) == 2


def test_an_address_with_many_gives_way_to_another() -> None:
    """Its latest loses the place."""
    waiting = order(*map(stranger, "aaab"), places=4)

    assert waiting.add(stranger("c"), "c") == "2"
    assert taken(waiting) == ["0", "3", "c", "1"]


def test_strangers_give_way_to_who_is_known() -> None:
    """Also where each has but one; known callers give way to none."""
    waiting = order(stranger("a"), KNOWN, places=2)

    assert waiting.add(KNOWN, "known") == "0"
    with pytest.raises(HashQueueFull):
        waiting.add(KNOWN, "one more")
    with pytest.raises(HashQueueFull):
        waiting.add(stranger("b"), "b")
    assert taken(waiting) == ["1", "known"]


def test_logins_and_other_checks_have_separate_places() -> None:
    """A flood of one leaves the other its places."""
    basic = HashCaller("a", is_known=False, is_login=False)
    waiting = order(stranger("a"), stranger("b"), places=2)

    assert waiting.add(basic, "basic") is None
    assert waiting.add(basic, "basic too") is None
    with pytest.raises(HashQueueFull):
        waiting.add(basic, "no more")


def test_few_addresses_are_remembered() -> None:
    """However many there are."""
    waiting: HashOrder[str] = HashOrder(1, 1)
    for number in range(MAX_ADDRESSES + 1):
        waiting.add(stranger(f"{number}"), "x")
        assert waiting.take() == "x"

    assert len(waiting._turns) == 1
    assert waiting.take() is None
