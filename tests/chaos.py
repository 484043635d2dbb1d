"""`python -m tests.chaos`: plays every scenario that runs here, and prints a table.

Exit code 1 when a rule was broken. Words given on the command line choose scenarios
by name; `--chosen` plays those of `make test`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.play import Result, play
from tests.faults.scenarios import ALL, CHOSEN
from tests.faults.table import show
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory


def main() -> int:
    """Play, print and judge."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--chosen", action="store_true", help="the fixed few only")
    parser.add_argument("--rounds", type=int, default=1, help="play all, so often")
    parser.add_argument("--keep", type=Path, help="leave logs and notes there")
    parser.add_argument("words", nargs="*", help="parts of scenarios' names")
    options = parser.parse_args()
    wanted = [
        scenario
        for scenario in (CHOSEN if options.chosen else ALL) * options.rounds
        if not options.words or any(word in scenario.name for word in options.words)
    ]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        root = options.keep or Path(folder)
        with Laboratory(root) as laboratory:
            cluster = Cluster(laboratory)
            cluster.form()
            for number, scenario in enumerate(wanted):
                results.append(play(cluster, scenario, number))
                show(results[-1:])
    show(results)
    return 1 if any(result.broken for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
