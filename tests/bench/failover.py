"""How long a failover takes: from the fault to the first write a majority stored."""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.baseline import Baseline
from tests.bench.row import Goal, Row
from tests.faults import steps as do
from tests.faults import steps_network as network
from tests.faults.play import play
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


def measure(runs: int) -> Iterator[Row]:
    """Give each row as soon as it is measured."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with Laboratory(Path(folder) / "ours") as laboratory:
            ours = _ours(laboratory, runs)
        with Laboratory(Path(folder) / "baseline") as laboratory:
            theirs = _theirs(laboratory, min(runs, BASELINE_RUNS))
    moved, results, changes = ours
    yield Row(SWITCHOVER.name, "s", [r.outage or 0 for r in moved], goal=Goal(0.3, 1.0))
    for scenario, goal in FAULTS:
        mine = [r for r in results if r.name == scenario.name]
        values = [r.service for r in mine if r.service is not None]
        yield Row(scenario.name, "s", values, theirs[scenario.name], goal)
    yield from _phases(changes)
    everything = [*moved, *results]
    yield Row("two serving", "ms", [r.dual_ms for r in everything], goal=Goal(0, 0))
    lost = [float(r.lost) for r in everything]
    yield Row("acknowledged and lost", "writes", lost, goal=Goal(0, 0))


def measure_openings(runs: int) -> Iterator[Row]:
    """The phases of planned switchovers alone: quick, for work on opening ports."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Laboratory(Path(folder)) as laboratory,
    ):
        cluster = Cluster(laboratory)
        cluster.form()
        numbers = count()
        moved = [play(cluster, SWITCHOVER, numbers) for _ in range(runs)]
        history = cluster.view(cluster.nodes["h1"])["history"]
    outages = [result.outage or 0 for result in moved]
    yield Row(SWITCHOVER.name, "s", outages, goal=Goal(0.3, 1.0))
    yield from _phases([r for r in history if r["to"] == "primary"])


def _ours(
    laboratory: Laboratory, runs: int
) -> tuple[list[Result], list[Result], list[dict[str, Any]]]:
    cluster = Cluster(laboratory)
    cluster.form()
    numbers = count()
    moved = [play(cluster, SWITCHOVER, numbers) for _ in range(runs)]
    results = [
        play(cluster, scenario, numbers) for scenario, _ in FAULTS for _ in range(runs)
    ]
    history = cluster.view(cluster.nodes["h1"])["history"]
    return moved, results, [r for r in history if r["to"] == "primary"]


def _phases(changes: list[dict[str, Any]]) -> Iterator[Row]:
    """Each phase of all the failovers above, from the history that the product kept."""
    for name in ("elected", "lease", "ports"):
        values = [c["phases"][name] for c in changes if name in c["phases"]]
        goal = Goal(0.05, 0.15) if name == "ports" else None
        yield Row(f"phase: {name}", "s", values, goal=goal)


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
    return {
        name: [baseline.measure(fault) for _ in range(runs)]
        for name, fault in faults.items()
    }
