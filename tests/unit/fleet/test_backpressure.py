"""Which connections are paused, resumed and closed by what all of them hold."""

import pytest

from twistlock_console.servers.defenders.backpressure import (
    COMPLETION_TIMEOUT_S,
    RESUME_BATCH_SIZE,
    STUCK_AFTER_S,
    ReadLimiter,
)

LIMIT = 1000
SMALL = 100


class Source:
    """A connection: what it holds, whether it is read, why it was closed."""

    def __init__(
        self, read_limiter: ReadLimiter, held: int = 0, incomplete: int = 0
    ) -> None:
        self.read_limiter = read_limiter
        self.held = self.incomplete = 0
        self.read = True
        self.closed = ""
        if held:
            self.hold(held, incomplete)

    def hold(self, held: int, incomplete: int = 0) -> "Source":
        """Hold so many bytes from now on."""
        self.held, self.incomplete = held, incomplete
        self.read_limiter.update(self)
        return self

    def pause_reading(self) -> None:
        """Read no more."""
        self.read = False

    def resume_reading(self) -> None:
        """Read again."""
        self.read = True

    def abort(self, reason: str) -> None:
        """Close."""
        self.closed = reason


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands at 0."""
    return Clock()


@pytest.fixture
def read_limiter(clock: Clock) -> ReadLimiter:
    """Return a read limiter that is full above 1,000 bytes."""
    return ReadLimiter(LIMIT, SMALL, clock)


def test_all_are_read_below_half_of_the_limit(read_limiter: ReadLimiter) -> None:
    """However much one of them holds."""
    assert Source(read_limiter, LIMIT // 2).read


def test_the_large_are_paused_above_it_and_the_small_are_read(
    read_limiter: ReadLimiter,
) -> None:
    """A flood of one makes no small message of another wait."""
    first = Source(read_limiter, LIMIT // 2)
    large, small = Source(read_limiter, SMALL + 1), Source(read_limiter, SMALL)

    assert (first.read, large.read, small.read) == (True, False, True)
    assert read_limiter.paused == [large]


def test_none_is_read_above_the_limit(read_limiter: ReadLimiter) -> None:
    """Also many small ones fill the memory."""
    Source(read_limiter, LIMIT)

    assert not Source(read_limiter, 1).read


def test_the_small_are_read_again_before_the_large(read_limiter: ReadLimiter) -> None:
    """As soon as the limit is kept; the large at half of it."""
    first, large = Source(read_limiter, LIMIT - 200), Source(read_limiter, 200)
    small = Source(read_limiter, 1)
    assert (large.read, small.read) == (False, False)
    first.hold(LIMIT // 2)
    assert (large.read, small.read) == (False, True)
    first.hold(0)

    assert large.read


def test_a_large_one_that_became_small_is_read(read_limiter: ReadLimiter) -> None:
    """Its messages were dealt with; those of others were not."""
    Source(read_limiter, LIMIT // 2)
    large = Source(read_limiter, 200)
    assert not large.read
    large.hold(SMALL)

    assert large.read


def test_large_messages_are_completed_a_few_at_a_time(
    read_limiter: ReadLimiter,
) -> None:
    """If only parts are held, waiting would not help."""
    parts = [Source(read_limiter, 101, 101) for _ in range(9)]
    assert all(part.read for part in parts)
    parts += [Source(read_limiter, 1, 1)]
    parts[0].hold(102, 102)

    assert parts[0].read
    assert not any(part.closed for part in parts)


def test_a_large_message_must_be_complete_soon(
    read_limiter: ReadLimiter, clock: Clock
) -> None:
    """While it is read, others are not."""
    rest = [Source(read_limiter, 60, 60) for _ in range(8)]
    late = Source(read_limiter, 150, 150).hold(151, 151)
    done = Source(read_limiter, 150, 150).hold(151, 151)
    done.hold(151)
    clock.now = COMPLETION_TIMEOUT_S + 1
    read_limiter.check()

    assert bool(late.closed)
    assert not any(each.closed for each in (*rest, done))


def test_the_largest_part_is_closed_when_nothing_can_be_completed(
    read_limiter: ReadLimiter,
) -> None:
    """At the limit, if only parts are held."""
    sources = [Source(read_limiter, 400, 400), Source(read_limiter, 500, 500)]
    assert not any(source.closed for source in sources)
    third = Source(read_limiter, 101, 101)

    assert [bool(each.closed) for each in (*sources, third)] == [False, True, False]
    assert read_limiter.total == read_limiter.incomplete == 501


def test_parts_are_closed_before_whole_messages(read_limiter: ReadLimiter) -> None:
    """At the hard limit, a quarter above the other one."""
    whole = Source(read_limiter, 900)
    part = Source(read_limiter, 350, 350)
    assert not part.closed
    Source(read_limiter, 1)

    assert (whole.closed, bool(part.closed)) == ("", True)


def test_whole_messages_may_wait_for_the_database_but_not_for_ever(
    read_limiter: ReadLimiter, clock: Clock
) -> None:
    """A peer that does not read its acknowledgements may hold them."""
    whole = Source(read_limiter, LIMIT + 1)
    clock.now = STUCK_AFTER_S
    read_limiter.check()
    assert not whole.closed
    clock.now += 1
    read_limiter.check()

    assert whole.closed
    assert read_limiter.total == 0


def test_some_are_read_again_when_there_is_memory(read_limiter: ReadLimiter) -> None:
    """Not all at once: together they would fill the memory again."""
    full = Source(read_limiter, LIMIT + 1)
    sources = [full] + [Source(read_limiter, 1) for _ in range(RESUME_BATCH_SIZE + 4)]
    assert not any(source.read for source in sources)

    full.hold(0)
    assert sum(source.read for source in sources) == RESUME_BATCH_SIZE
    read_limiter.check()

    assert all(source.read for source in sources)


def test_a_connection_that_ends_holds_nothing_and_is_not_resumed(
    read_limiter: ReadLimiter,
) -> None:
    """Its bytes are free for others."""
    full, waiting = Source(read_limiter, LIMIT + 1), Source(read_limiter, 5)
    waiting.read = False
    read_limiter.discard(waiting)
    read_limiter.discard(full)

    assert not waiting.read
    assert (read_limiter.total, read_limiter.holding, read_limiter.paused) == (
        0,
        [],
        [],
    )
