"""Measures, prints a table for each part, and writes build/bench.json."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import backups, defenders, failover, pages
from tests.bench.row import Row, show

PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "backups": backups.measure,
    "defenders": defenders.measure,
    "failover": failover.measure,
    "opening": failover.measure_openings,
    "pages": pages.measure,
}
KEPT = Path("build/bench.json")


def main() -> int:
    """Exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    rows: list[Row] = []
    # Openings are measured with the failovers, too.
    everything = sorted(PARTS.keys() - {"opening"})
    for name in [options.only] if options.only else everything:
        rows += PARTS[name](options.runs)
    show(rows)
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
