"""What every test shares: what may be missing on a host, and what CI never skips."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.hosts.cluster import Cluster
    from tests.load_balancer.fronts import Fronts

METADATA = Path(__file__).parents[1] / "packaging/checkout_metadata.py"
COVERAGE = "COVERAGE_PROCESS_CONFIG"
MEASURED = os.environ.get(COVERAGE)
TIMED = "timed: its times count, so the processes that it starts are not measured"
UNMEASURED = (
    "unmeasured: coverage follows neither it nor the processes that it starts; others "
    "cover what they run, and measuring takes a third of the time, or more than half"
)
NEEDS = (
    "needs(*programs, root=False): skip, with a sentence, where a program is missing "
    "or, with root, where no network namespace can be made"
)

# A busy host is slow, and no less right: nothing that Hypothesis draws is timed.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Keep pytest-flask from pushing a request context around each test.

    Its own fixture keeps one flask.g alive, in which Flask-Login keeps the user:
    a stranger would look logged in.
    """


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and the plugins of this checkout."""
    # A shell lets what it runs in the background ignore INT, and nohup HUP; no program
    # that a test starts and interrupts could undo that.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if METADATA.exists():  # not where this file was copied to
        subprocess.run([sys.executable, METADATA], check=True)
    config.addinivalue_line("markers", NEEDS)
    config.addinivalue_line("markers", TIMED)
    config.addinivalue_line("markers", UNMEASURED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured (`record_property`), whichever worker ran them."""
    reports = [*terminalreporter.getreports("passed")]
    reports += terminalreporter.getreports("failed")
    told = [line for r in reports for name, line in r.user_properties if name == "told"]
    if told:
        terminalreporter.section("measured")
    for line in told:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def timed_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """Three nodes for all tests that judge times; each test leaves them whole."""
    # Here: this file also works where there are no other tests.
    from tests.hosts.cluster import Cluster
    from tests.hosts.laboratory import Laboratory
    from tests.load_balancer.fronts import BALANCERS, NAMES

    with Laboratory(tmp_path_factory.mktemp("timed")) as laboratory:
        formed = Cluster(
            laboratory,
            CONSOLE_SAN=",".join(NAMES),
            TRUSTED_PROXIES=",".join(BALANCERS),
        )
        formed.form()
        yield formed


@pytest.fixture(scope="session")
def timed_fronts(timed_cluster: "Cluster") -> "Fronts":
    """Return the same cluster behind HAProxy, nginx and round robin DNS."""
    from tests.load_balancer.fronts import Fronts

    made = Fronts(timed_cluster)
    made.start()
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test where this host lacks what its markers say it needs."""
    marked = {mark.name for mark in item.iter_markers()}
    _measure_children(measured=not marked & {"timed", "unmeasured"})
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed; run: make setup")
        if marker.kwargs.get("root") and (reason := _no_namespaces()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have coverage look away from what need not be measured."""
    tracer = sys.gettrace() if item.get_closest_marker("unmeasured") else None
    if tracer is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    """Let a skipped test fail in CI: there, nothing may be missing."""
    return _never_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Iterator[None]:
    """Let a skipped file fail in CI."""
    return _never_skipped((yield))


def _measure_children(*, measured: bool) -> None:
    """Let coverage follow into the processes that the next test starts, or not."""
    if not measured:
        os.environ.pop(COVERAGE, None)
    elif MEASURED is not None:
        os.environ[COVERAGE] = MEASURED


def _never_skipped(report: pytest.TestReport) -> pytest.TestReport:
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped in CI: {report.longrepr[2]}"
    return report


@cache
def _no_namespaces() -> str | None:
    """Why this process cannot make network namespaces, if so."""
    if os.geteuid() != 0:
        return "it makes network namespaces; run the tests as root"
    try:
        subprocess.run(["unshare", "-n", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "this host lets nobody make network namespaces"
    return None
