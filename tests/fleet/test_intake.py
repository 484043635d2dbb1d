"""How much may be unfinished in memory, and who is read again when it was stored."""

import pytest

from twistlock_console.servers.defenders.backpressure import AT_ONCE, Intake

LIMIT = 100


class Source:
    """A transport: whether it is read."""

    def __init__(self) -> None:
        self.read = True

    def pause_reading(self) -> None:
        """Read no more."""
        self.read = False

    def resume_reading(self) -> None:
        """Read again."""
        self.read = True


@pytest.fixture
def intake() -> Intake:
    """One that is full with more than 100 bytes."""
    return Intake(LIMIT)


def test_who_sends_more_than_fits_is_read_no_more(intake: Intake) -> None:
    """While the database is slow; what arrived already is kept."""
    first, second = Source(), Source()
    intake.begins()
    intake.received(first, LIMIT)
    assert first.read
    intake.received(second, 1)

    assert (first.read, second.read, intake.unfinished) == (True, False, LIMIT + 1)


def test_all_are_read_while_nothing_waits_for_the_database(intake: Intake) -> None:
    """Parts of messages may have filled the memory: one of them must become whole."""
    source = Source()
    intake.received(source, 10 * LIMIT)
    assert source.read

    intake.begins()
    intake.ends()
    intake.received(source, 1)

    assert source.read


def test_some_are_read_again_when_something_was_stored(intake: Intake) -> None:
    """Not all at once: together they would fill the memory again."""
    intake.begins()
    intake.received(Source(), LIMIT)
    sources = [Source() for _ in range(AT_ONCE + 5)]
    for source in sources:
        intake.received(source, 1)
    assert not any(source.read for source in sources)

    intake.ends()
    intake.finished(LIMIT)
    assert [source.read for source in sources] == [True] * AT_ONCE + [False] * 5
    intake.finished(1)

    assert all(source.read for source in sources)
    assert intake.unfinished == AT_ONCE + 4
