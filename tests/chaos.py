"""`python -m tests.chaos`: plays every scenario that runs here, and prints a table.

Exit code 1 when a rule was broken. Words given on the command line choose scenarios
by parts of their names; `--chosen` plays those of `make test`.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.faults.grounds import Ground, cluster_on
from tests.faults.play import play
from tests.faults.result import Result
from tests.faults.scenario import Scenario
from tests.faults.scenarios import ALL, CHOSEN, LEFT_OUT
from tests.faults.table import show
from tests.hosts.fake_clock import find_library
from tests.hosts.laboratory import Laboratory


def main() -> int:
    """Play, print and judge."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--chosen", action="store_true", help="the fixed few only")
    parser.add_argument("--rounds", type=int, default=1, help="play all, so often")
    parser.add_argument("--keep", type=Path, help="leave logs and notes there")
    parser.add_argument("words", nargs="*", help="parts of scenarios' names")
    options = parser.parse_args()
    # The hosts end with us in any case; this also removes their files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = [
        scenario
        for scenario in (CHOSEN if options.chosen else ALL) * options.rounds
        if not options.words or any(word in scenario.name for word in options.words)
    ]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for ground in Ground:
            there = [scenario for scenario in wanted if scenario.ground is ground]
            root = (options.keep or Path(folder)) / ground.name.lower()
            results += _play_on(ground, there, root)
    show(results)
    for cases, reason in LEFT_OUT.items():
        print(f"Not played: {cases}: {reason}")  # noqa: T201
    return 1 if any(result.broken for result in results) else 0


def _play_on(ground: Ground, wanted: Sequence[Scenario], root: Path) -> list[Result]:
    if ground is Ground.CLOCKS and find_library() is None:
        print("Not played: what steps clocks, for want of libfaketime")  # noqa: T201
        return []
    results: list[Result] = []
    if wanted:
        with Laboratory(root) as laboratory:
            cluster = cluster_on(ground, laboratory)
            cluster.form()
            numbers = count()
            for scenario in wanted:
                results.append(play(cluster, scenario, numbers))
                show(results[-1:])
    return results


if __name__ == "__main__":
    sys.exit(main())
