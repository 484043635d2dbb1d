"""Rules of the queue for password hashes."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import pytest

from tests.hosts.waiting import wait_for
from twistlock_console.accounts.login_throttle import HashCaller
from twistlock_console.accounts.passwords import NICENESS, HashQueue
from twistlock_console.common.errors import Busy

LOGIN = HashCaller("a stranger", is_known=False, is_login=True)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """Threads that call the queue."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


class Occupant:
    """A caller that holds a slot of *queue* until it is told to leave."""

    def __init__(
        self, queue: HashQueue, callers: ThreadPoolExecutor, caller: HashCaller
    ) -> None:
        self.queue = queue
        self.caller = caller
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.done: Future[None] = callers.submit(self._hold)

    def _hold(self) -> None:
        with self.queue.slot(self.caller):
            self.entered.set()
            assert self.leave.wait(60)


@contextmanager
def occupied(
    queue: HashQueue,
    callers: ThreadPoolExecutor,
    count: int,
    caller: HashCaller = LOGIN,
) -> Iterator[list[Occupant]]:
    """Have *count* callers come to *queue*, one after the other."""
    with ExitStack() as leaving:
        found = []
        for number in range(count):
            one = Occupant(queue, callers, caller)
            leaving.callback(one.leave.set)
            arrived = number + 1
            wait_for(lambda n=arrived: arrivals(queue) == n, 5, "a caller", every=0.01)
            found.append(one)
        yield found


def arrivals(queue: HashQueue) -> int:
    """Return how many callers hold a slot or wait for one."""
    return queue.running + queue.waiting


def test_few_run_few_wait_and_the_next_is_refused_at_once(
    callers: ThreadPoolExecutor,
) -> None:
    """Two slots, three waiting: the sixth gets a sentence and seconds to wait."""
    queue = HashQueue(slots=2, login_places=3, max_wait_s=30)
    with occupied(queue, callers, 5) as inside:
        assert [one.entered.is_set() for one in inside] == [True] * 2 + [False] * 3
        with pytest.raises(Busy, match="try again") as refused, queue.slot(LOGIN):
            pytest.fail("a sixth caller got a slot")
        assert refused.value.retry_after_s > 0
    for one in inside:
        one.done.result(60)
    assert arrivals(queue) == 0


def test_a_stranger_who_gives_way_is_told_to_try_again(
    callers: ThreadPoolExecutor,
) -> None:
    """At once; the one who is known has its place."""
    queue = HashQueue(slots=1, login_places=1, max_wait_s=30)
    known = HashCaller("known", is_known=True, is_login=True)
    with occupied(queue, callers, 2) as (first, second):
        third = Occupant(queue, callers, known)
        with pytest.raises(Busy):
            second.done.result(60)
        third.leave.set()
        first.leave.set()
        third.done.result(60)


def test_slots_are_given_in_the_order_of_arrival(callers: ThreadPoolExecutor) -> None:
    """A new caller does not overtake those that wait."""
    queue = HashQueue(slots=1, login_places=3, max_wait_s=30)
    with occupied(queue, callers, 4) as inside:
        for leaves, follows in pairwise(inside):
            assert not follows.entered.is_set()
            leaves.leave.set()
            assert follows.entered.wait(60)


def test_a_caller_waits_for_a_bounded_time(callers: ThreadPoolExecutor) -> None:
    """When it gives up, those behind it keep their turn."""
    queue = HashQueue(slots=1, login_places=3, max_wait_s=0.05)
    with occupied(queue, callers, 1) as (first,):
        with pytest.raises(Busy), queue.slot(LOGIN):
            pytest.fail("a second caller got the only slot")
        first.leave.set()
        first.done.result(60)
    with queue.slot(LOGIN):
        assert arrivals(queue) == 1


def test_a_slot_is_free_again_after_an_error() -> None:
    """A login that fails in any way leaves the queue."""
    queue = HashQueue(slots=1, login_places=0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), queue.slot(LOGIN):
            queue.run(lambda: 1 // 0)
    assert arrivals(queue) == 0


def test_hashes_give_way_to_everything_else() -> None:
    """They run on threads of low priority; the caller's own stays what it was."""
    queue = HashQueue()
    mine = os.getpriority(os.PRIO_PROCESS, 0)

    with queue.slot(LOGIN):
        theirs = queue.run(
            lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        )

    assert theirs == min(NICENESS, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
