"""How connections, requests and memory are shared among clients."""

from ipaddress import ip_network

import pytest

from twistlock_console.servers.management.client_bounds import (
    ConnectionTable,
    MemoryBudget,
    MinimumRate,
    QueueLimits,
    RequestQueue,
    TrustedProxies,
    client_key,
)

LIMITS = QueueLimits(waiting=5, waiting_per_client=3, in_work_per_client=2)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a socket", "a socket"),
    ],
)
def test_what_stands_for_a_client(address: str, key: str) -> None:
    """An IPv6 host may use any address of its network."""
    assert client_key(address) == key


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.0.0.5", True),
        ("10.0.1.77", True),
        ("10.0.0.6", False),
        ("2001:db8::5", True),
        ("2001:db8:0:1::5", False),
        ("not an address", False),
    ],
)
def test_proxies_are_known_by_their_address(address: str, trusted: bool) -> None:
    """One that is given as an IPv6 address, too, which counts by its network."""
    proxies = TrustedProxies(
        [
            ip_network("10.0.0.5"),
            ip_network("10.0.1.0/24"),
            ip_network("2001:db8::5/128"),
        ]
    )

    assert (client_key(address) in proxies) is trusted
    assert (client_key(address) in proxies) is trusted
    assert client_key(address) not in TrustedProxies([])
    assert 5 not in proxies


def test_a_client_with_too_many_connections_loses_its_oldest_idle_one() -> None:
    """Neither one of another client, nor one whose request is in work."""
    table: ConnectionTable[int] = ConnectionTable(10, 3, exempt=())
    for number in (1, 2, 3):
        table.add("a", number)
    table.add("b", 9)
    full = table.is_full_for("a"), table.is_full_for("b"), table.is_full_for("c")

    assert full == (True, False, False)
    assert table.choose_victim("a") == 1
    table.set_busy("a", 1)
    assert table.choose_victim("a") == 2
    table.set_idle("a", 1)
    table.set_busy("a", 2)
    assert table.choose_victim("a") == 3
    table.set_busy("a", 3)
    table.set_busy("a", 1)
    assert table.choose_victim("a") is None


def test_a_full_table_takes_from_the_client_with_the_most() -> None:
    """Trusted proxies, too: they have no bound of their own."""
    table: ConnectionTable[int] = ConnectionTable(6, 3, exempt={"proxy"})
    assert table.choose_victim("b") is None
    for number in range(5):
        table.add("proxy", number)
    table.add("a", 9)

    assert table.is_full_for("b")
    assert table.choose_victim("b") == 0
    assert table.choose_victim("proxy") == 0
    table.remove("proxy", 0)
    assert len(table) == 5
    assert not table.is_full_for("proxy")
    table.remove("a", 9)
    assert len(table) == 4


def test_clients_take_turns() -> None:
    """However many requests one of them has waiting."""
    queue: RequestQueue[str] = RequestQueue(QueueLimits(100, 100, 100), exempt=())
    for key, item in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1")):
        assert queue.offer(key, item)
    taken = [queue.take() for _ in range(6)]

    assert taken == [
        ("a", "a1"),
        ("b", "b1"),
        ("c", "c1"),
        ("a", "a2"),
        ("a", "a3"),
        None,
    ]


def test_a_client_has_no_more_than_its_share_in_work() -> None:
    """A trusted proxy has as much as there is."""
    queue: RequestQueue[int] = RequestQueue(LIMITS, exempt={"proxy"})
    for number in range(3):
        queue.offer("a", number)
    first = queue.take(), queue.take(), queue.take()
    queue.finish("a")

    assert first == (("a", 0), ("a", 1), None)
    assert queue.take() == ("a", 2)
    for number in range(3):
        queue.offer("proxy", number)
    assert [queue.take() for _ in range(3)] == [("proxy", n) for n in range(3)]
    for key in ("a", "a", "proxy", "proxy", "proxy"):
        queue.finish(key)
    assert queue.take() is None


def test_too_much_that_waits_is_refused() -> None:
    """Per client and in all; what was begun goes on in any case."""
    queue: RequestQueue[int] = RequestQueue(LIMITS, exempt={"proxy"})
    mine = [queue.offer("a", number) for number in range(4)]
    others = [queue.offer("proxy", number) for number in range(3)]
    queue.push("a", 9)

    assert mine == [True, True, True, False]
    assert others == [True, True, False]
    assert len(queue) == 6


def test_memory_is_bounded_per_client_and_in_all() -> None:
    """A trusted proxy has as much as there is."""
    budget = MemoryBudget(100, 40, exempt={"proxy"})

    assert budget.change("a", 40)
    assert not budget.change("a", 1)
    assert budget.change("a", -41)
    assert budget.change("proxy", 90)
    assert not budget.change("b", 20)
    assert budget.change("b", -20)
    assert budget.total == 90


def test_a_transfer_may_fall_behind_by_its_patience() -> None:
    """What was quick earns nothing for later."""
    rate = MinimumRate(bytes_per_s=10, allowance_s=5, now=100)
    first = rate.deadline
    rate.advance(20, now=104)
    slow = rate.deadline
    rate.advance(1_000_000, now=106)
    quick = rate.deadline
    rate.restart(now=200)

    assert (first, slow, quick, rate.deadline) == (105, 107, 111, 205)
