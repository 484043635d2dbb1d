"""Which connections are paused, resumed and closed by what all of them hold."""

import pytest

from twistlock_console.servers.defenders.backpressure import (
    COMPLETION_TIMEOUT_S,
    RESUMED_AT_ONCE,
    STUCK_AFTER_S,
    Intake,
)

LIMIT = 1000
SMALL = 100


class Source:
    """A connection: what it holds, whether it is read, why it was closed."""

    def __init__(self, intake: Intake, held: int = 0, incomplete: int = 0) -> None:
        self.intake = intake
        self.held = self.incomplete = 0
        self.read = True
        self.closed = ""
        if held:
            self.hold(held, incomplete)

    def hold(self, held: int, incomplete: int = 0) -> "Source":
        """Hold so many bytes from now on."""
        self.held, self.incomplete = held, incomplete
        self.intake.update(self)
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
def intake(clock: Clock) -> Intake:
    """Return an intake that is full above 1,000 bytes."""
    return Intake(LIMIT, SMALL, clock)


def test_all_are_read_below_half_of_the_limit(intake: Intake) -> None:
    """However much one of them holds."""
    assert Source(intake, LIMIT // 2).read


def test_the_large_are_paused_above_it_and_the_small_are_read(intake: Intake) -> None:
    """A flood of one makes no small message of another wait."""
    first = Source(intake, LIMIT // 2)
    large, small = Source(intake, SMALL + 1), Source(intake, SMALL)

    assert (first.read, large.read, small.read) == (True, False, True)
    assert intake.paused == [large]


def test_none_is_read_above_the_limit(intake: Intake) -> None:
    """Also many small ones fill the memory."""
    Source(intake, LIMIT)

    assert not Source(intake, 1).read


def test_the_small_are_read_again_before_the_large(intake: Intake) -> None:
    """As soon as the limit is kept; the large at half of it."""
    first, large = Source(intake, LIMIT - 200), Source(intake, 200)
    small = Source(intake, 1)
    assert (large.read, small.read) == (False, False)
    first.hold(LIMIT // 2)
    assert (large.read, small.read) == (False, True)
    first.hold(0)

    assert large.read


def test_a_large_one_that_became_small_is_read(intake: Intake) -> None:
    """Its messages were dealt with; those of others were not."""
    Source(intake, LIMIT // 2)
    large = Source(intake, 200)
    assert not large.read
    large.hold(SMALL)

    assert large.read


def test_large_messages_are_completed_a_few_at_a_time(intake: Intake) -> None:
    """If only parts are held, waiting would not help."""
    parts = [Source(intake, 101, 101) for _ in range(9)]
    assert all(part.read for part in parts)
    parts += [Source(intake, 1, 1)]
    parts[0].hold(102, 102)

    assert parts[0].read
    assert not any(part.closed for part in parts)


def test_a_large_message_must_be_complete_soon(intake: Intake, clock: Clock) -> None:
    """While it is read, others are not."""
    rest = [Source(intake, 60, 60) for _ in range(8)]
    late = Source(intake, 150, 150).hold(151, 151)
    done = Source(intake, 150, 150).hold(151, 151)
    done.hold(151)
    clock.now = COMPLETION_TIMEOUT_S + 1
    intake.check()

    assert bool(late.closed)
    assert not any(each.closed for each in (*rest, done))


def test_the_largest_part_is_closed_when_nothing_can_be_completed(
    intake: Intake,
) -> None:
    """At the limit, if only parts are held."""
    sources = [Source(intake, 400, 400), Source(intake, 500, 500)]
    assert not any(source.closed for source in sources)
    third = Source(intake, 101, 101)

    assert [bool(each.closed) for each in (*sources, third)] == [False, True, False]
    assert intake.total == intake.incomplete == 501


def test_parts_are_closed_before_whole_messages(intake: Intake) -> None:
    """At the hard limit, a quarter above the other one."""
    whole = Source(intake, 900)
    part = Source(intake, 350, 350)
    assert not part.closed
    Source(intake, 1)

    assert (whole.closed, bool(part.closed)) == ("", True)


def test_whole_messages_may_wait_for_the_database_but_not_for_ever(
    intake: Intake, clock: Clock
) -> None:
    """A peer that does not read its acknowledgements may hold them."""
    whole = Source(intake, LIMIT + 1)
    clock.now = STUCK_AFTER_S
    intake.check()
    assert not whole.closed
    clock.now += 1
    intake.check()

    assert whole.closed
    assert intake.total == 0


def test_some_are_read_again_when_there_is_memory(intake: Intake) -> None:
    """Not all at once: together they would fill the memory again."""
    full = Source(intake, LIMIT + 1)
    sources = [full] + [Source(intake, 1) for _ in range(RESUMED_AT_ONCE + 4)]
    assert not any(source.read for source in sources)

    full.hold(0)
    assert sum(source.read for source in sources) == RESUMED_AT_ONCE
    intake.check()

    assert all(source.read for source in sources)


def test_who_ends_holds_nothing_and_is_not_resumed(intake: Intake) -> None:
    """Its bytes are free for others."""
    full, waiting = Source(intake, LIMIT + 1), Source(intake, 5)
    waiting.read = False
    intake.discard(waiting)
    intake.discard(full)

    assert not waiting.read
    assert (intake.total, intake.holding, intake.paused) == (0, [], [])
