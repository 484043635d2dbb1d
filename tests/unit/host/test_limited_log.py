"""Log lines about the same subject are written once a minute."""

import pytest

from twistlock_console.common.log_bounds import MAX_SUBJECTS, MIN_INTERVAL_S, LimitedLog


def test_a_flood_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The next line says how many were left out; other subjects have their own."""
    log = LimitedLog()
    for second in range(5):
        log.write("a", "fails", float(second))
    log.write("b", "fails", 4.0)
    log.write("a", "fails again", MIN_INTERVAL_S)
    log.write("a", "fails", 2 * MIN_INTERVAL_S)

    assert caplog.messages == [
        "a fails",
        "b fails",
        "a fails again (and 4 more times since the last such line)",
        "a fails",
    ]


def test_a_flood_of_subjects_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """What it remembers is bounded."""
    log = LimitedLog()
    for number in range(MAX_SUBJECTS + 1):
        log.write(str(number), "fails", 0.0)
    log.write("0", "fails", 1.0)

    assert len(caplog.messages) == MAX_SUBJECTS + 2
