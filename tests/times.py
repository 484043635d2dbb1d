"""Tells which tests take longest, and how long the tests slept.

A plugin of pytest, off by default: `-p tests.times`, as `make test-times` does.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hosts import waiting

MAX_LISTED = 30
ASLEEP, WAITED = "asleep_s", "waited_s"

#: Seconds since the process began, by kind; threads add to them too.
spent: Counter[str] = Counter()


def _measured(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Return *function*, with the time that each call takes added up."""

    def measured(*arguments: Any, **named: Any) -> Any:
        begin = time.monotonic()
        try:
            return function(*arguments, **named)
        finally:
            spent[kind] += time.monotonic() - begin

    return measured


# Before a test module imports one of them by its name.
time.sleep = _measured(time.sleep, ASLEEP)
waiting.wait_for = _measured(waiting.wait_for, WAITED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Put what was spent since the last report into this one."""
    report: Any = yield
    report.user_properties.extend(spent.items())
    spent.clear()
    return report  # type: ignore[no-any-return]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the slowest tests, and the sums of all."""
    taken: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport):
                continue
            taken[report.nodeid] += report.duration
            for kind, seconds in report.user_properties:
                if kind in (ASLEEP, WAITED):
                    sums[kind] += seconds
    terminalreporter.section("times")
    for test, seconds in taken.most_common(MAX_LISTED):
        terminalreporter.write_line(f"{seconds:8.2f} s  {test}")
    terminalreporter.write_line(
        f"{sum(taken.values()):.1f} s in all; {sums[ASLEEP]:.1f} s in time.sleep; "
        f"{sums[WAITED]:.1f} s in wait_for, its sleeps included"
    )
