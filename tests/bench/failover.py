"""How long a failover takes: from the fault to the first write a majority stored."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from plugins.ha.web.timeline import sort_phases
from tests.bench.baseline import Baseline
from tests.bench.row import Goal, Row
from tests.faults import steps as do
from tests.faults import steps_network as network
from tests.faults.play import PATIENCE, play
from tests.faults.result import Result
from tests.faults.scenario import Scenario
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory

SWITCHOVER = Scenario("planned switchover", "57", (do.switch_over(),))
FAULTS = (
    (Scenario("mongod of the primary killed", "2", (do.end("mongod"),)), Goal(0.8, 2)),
    (Scenario("whole node killed", "3", (do.end_all(),)), Goal(2, 3)),
    (Scenario("host unreachable", "19", (network.unplug(),)), Goal(2, 3.5)),
    (
        Scenario("host frozen", "7", (do.freeze(), do.pause(6), do.thaw())),
        Goal(2, 3.5),
    ),
)
BASELINE_RUNS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One failover: what was measured, and the phases that the product recorded."""

    result: Result
    phases: Mapping[str, float]


def measure(runs: int) -> Iterator[Row]:
    """Measure ours, then MongoDB's defaults; each run is told when it is over."""
    scenarios = (SWITCHOVER, *(scenario for scenario, _ in FAULTS))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with Laboratory(Path(folder) / "ours") as laboratory:
            ours = _play_all(laboratory, scenarios, runs)
        with Laboratory(Path(folder) / "baseline") as laboratory:
            theirs = _theirs(laboratory, min(runs, BASELINE_RUNS))
    yield _row(SWITCHOVER.name, ours[SWITCHOVER.name], Goal(0.3, 1.0))
    for scenario, goal in FAULTS:
        yield _row(scenario.name, ours[scenario.name], goal, theirs[scenario.name])
    everything = [run for runs in ours.values() for run in runs]
    yield from _phases(everything)
    yield from _rules([run.result for run in everything])


def measure_openings(runs: int) -> Iterator[Row]:
    """Planned switchovers alone: quick, for work on opening ports."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Laboratory(Path(folder)) as laboratory,
    ):
        moved = _play_all(laboratory, (SWITCHOVER,), runs)[SWITCHOVER.name]
    yield _row(SWITCHOVER.name, moved, Goal(0.3, 1.0))
    yield from _phases(moved)


def _play_all(
    laboratory: Laboratory, scenarios: Sequence[Scenario], runs: int
) -> dict[str, list[Run]]:
    cluster = Cluster(laboratory)
    cluster.form()
    numbers = count()
    played: dict[str, list[Run]] = {}
    for scenario in scenarios:
        for _ in range(runs):
            run = _run(cluster, scenario, numbers)
            played.setdefault(scenario.name, []).append(run)
            _tell(f"{scenario.name}: {_seconds(run):.2f} s; {_told(run.phases)}")
            for sentence in run.result.broken:
                _tell(f"{scenario.name}: {sentence}")
    return played


def _run(cluster: Cluster, scenario: Scenario, numbers: Iterator[int]) -> Run:
    result = play(cluster, scenario, numbers)
    serving = cluster.nodes[cluster.wait_converged()]
    history = cluster.view(serving)["history"]
    latest = next((r for r in history if r["to"] == "primary"), {"phases": {}})
    return Run(result, sort_phases(latest["phases"]))


def _seconds(run: Run) -> float:
    """From the fault to the write that ended it; of a switchover, the outage alone."""
    planned = run.result.name == SWITCHOVER.name
    found = run.result.outage if planned else run.result.service
    # One that never ended counts as the longest that is waited for.
    return PATIENCE if found is None else found


def _row(
    name: str, runs: Sequence[Run], goal: Goal, baseline: Sequence[float] = ()
) -> Row:
    worst = max(runs, key=_seconds)
    note = f"worst run {_seconds(worst):.2f} s; {_told(worst.phases)}"
    return Row(name, "s", [_seconds(run) for run in runs], baseline, goal, note)


def _phases(runs: Sequence[Run]) -> Iterator[Row]:
    """Each phase of all the failovers above, from the history that the product kept."""
    for name in ("noticed", "elected", "writable", "lease", "ports"):
        values = [run.phases[name] for run in runs if name in run.phases]
        ports = name == "ports"
        goal = Goal(0.05, 0.15) if ports else None
        yield Row(
            "role to ports answering" if ports else f"phase: {name}",
            "s",
            values,
            goal=goal,
        )


def _rules(results: Sequence[Result]) -> Iterator[Row]:
    nothing = Goal(0, 0)
    yield Row("two serving", "ms", [r.dual_ms for r in results], goal=nothing)
    lost = [float(r.lost) for r in results]
    yield Row("acknowledged and lost", "writes", lost, goal=nothing)
    broken = [float(len(r.broken)) for r in results]
    yield Row("broken rules", "number", broken, goal=nothing)


def _told(phases: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3f}" for name, seconds in phases.items())


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _theirs(laboratory: Laboratory, runs: int) -> dict[str, list[float]]:
    """The same faults on MongoDB's defaults, with a plain poll opening the ports."""
    baseline = Baseline(laboratory)
    baseline.form()
    faults = {
        "mongod of the primary killed": baseline.kill_mongod,
        "whole node killed": baseline.kill_all,
        "host unreachable": baseline.unplug,
        "host frozen": baseline.freeze,
    }
    measured: dict[str, list[float]] = {}
    for name, fault in faults.items():
        for _ in range(runs):
            measured.setdefault(name, []).append(baseline.measure(fault))
            _tell(f"MongoDB's defaults, {name}: {measured[name][-1]:.2f} s")
    return measured
