"""`python -m tests.simulation`: plays runs until it has made so many steps.

Exit code 1 when a rule was broken; then the smallest plan found is told, with its
trace. `--seed N` plays one run and tells it.
"""

import argparse
import sys
import time

from tests.simulation.run import Plan, Run
from tests.simulation.shrink import report, shrunk
from tests.simulation.world import Violated


def main() -> int:
    """Play and judge."""
    parser = argparse.ArgumentParser(prog="tests.simulation")
    parser.add_argument("--steps", type=int, default=1_000_000, help="make so many")
    parser.add_argument("--first", type=int, default=0, help="the first run's seed")
    parser.add_argument("--seed", type=int, help="play this run only, and tell it")
    parser.add_argument("--whole", action="store_true", help="do not shrink it")
    options = parser.parse_args()
    if options.seed is not None:
        plan = Plan.drawn(options.seed)
        print(report(plan if options.whole else shrunk(plan)))  # noqa: T201
        return 0
    return _play(options.first, options.steps)


def _play(first: int, wanted: int) -> int:
    started = time.process_time()
    seed, steps, servings, simulated = first, 0, 0, 0
    while steps < wanted:
        plan = Plan.drawn(seed)
        run = Run(plan)
        try:
            run.play()
        except Violated:
            print(report(shrunk(plan)))  # noqa: T201
            return 1
        seed += 1
        steps += run.world.steps
        servings += run.servings
        simulated += run.world.now
    spent = time.process_time() - started
    print(  # noqa: T201
        f"{steps:,} steps in {seed - first:,} runs (seeds {first} to {seed - 1}), "
        f"{simulated / 1e9:,.0f} s simulated in {spent:.0f} s of CPU "
        f"({steps / spent:,.0f} steps a second); {servings:,} times a node began to "
        "serve; no rule was broken"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
