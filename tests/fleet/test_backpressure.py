"""Which connections are paused, resumed and closed by what all of them hold."""

import pytest

from twistlock_console.servers.defenders.backpressure import (
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


def test_all_are_read_below_the_limit(intake: Intake) -> None:
    """However much one of them holds."""
    assert Source(intake, LIMIT).read


def test_the_large_are_paused_above_the_limit_and_the_small_are_read(
    intake: Intake,
) -> None:
    """A flood of one makes no small message of another wait."""
    large = Source(intake, LIMIT)
    other, small = Source(intake, SMALL + 1), Source(intake, SMALL)

    assert (large.read, other.read, small.read) == (True, False, True)
    assert intake.paused == [other]


def test_none_is_read_far_above_the_limit(intake: Intake) -> None:
    """Also many small ones fill the memory."""
    Source(intake, LIMIT * 5 // 4)

    assert not Source(intake, 1).read


def test_the_greediest_is_closed_when_nothing_can_be_completed(intake: Intake) -> None:
    """All that is held are parts of messages: waiting would not help."""
    sources = [Source(intake, 300, 300), Source(intake, 400, 400)]
    assert not any(source.closed for source in sources)
    third = Source(intake, 301, 301)

    assert [bool(each.closed) for each in (*sources, third)] == [False, True, False]
    assert intake.total == intake.incomplete == 601


def test_parts_are_closed_before_whole_messages(intake: Intake) -> None:
    """At the hard limit, one and a half times the other one."""
    whole = Source(intake, 900)
    part = Source(intake, 500, 500)
    assert not part.closed
    Source(intake, 101)

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
    full = Source(intake, LIMIT * 4 // 3)
    sources = [full] + [Source(intake, 1) for _ in range(RESUMED_AT_ONCE + 4)]
    assert not any(source.read for source in sources)

    full.hold(0)
    assert sum(source.read for source in sources) == RESUMED_AT_ONCE
    intake.check()

    assert all(source.read for source in sources)


def test_who_ends_holds_nothing_and_is_not_resumed(intake: Intake) -> None:
    """Its bytes are free for others."""
    full, waiting = Source(intake, LIMIT * 5 // 4), Source(intake, 5)
    waiting.read = False
    intake.discard(waiting)
    intake.discard(full)

    assert not waiting.read
    assert (intake.total, intake.holding, intake.paused) == (0, [], [])
