"""Plays one scenario: users at work, the fault, and healing."""

from collections.abc import Iterator

from tests.faults import rules
from tests.faults.result import Result
from tests.faults.scenario import Expect, Scenario
from tests.faults.stage import Stage, Unsettled
from tests.faults.steps import heal
from tests.faults.verdict import judge
from tests.hosts.cluster import Cluster
from tests.hosts.pace import Pace
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError

# Longer than any budget: a figure over the budget is worth more than none.
PATIENCE = 40.0
SETTLE = 1.0
TRIES = 3
WENT_WRONG = (OSError, RuntimeError, ConsoleError)


def play(cluster: Cluster, scenario: Scenario, numbers: Iterator[int]) -> Result:
    """Play *scenario*, heal, and check every rule. The cluster is whole afterwards.

    *numbers* tell the files and writes of scenarios on one cluster apart.
    """
    result = Result(scenario.name)
    while result.unsettled < TRIES:
        try:
            stage = Stage(cluster, next(numbers))
            _play(stage, scenario, result)
            judge(stage, scenario, result)
            return result
        except Unsettled:
            result.unsettled += 1
        except WENT_WRONG as error:
            result.broken.append(str(error))
            return result
        finally:
            heal(cluster)
    result.broken.append("the role never stayed where it was, without any fault")
    return result


def _play(stage: Stage, scenario: Scenario, result: Result) -> None:
    try:
        with stage.users():
            _break(stage, scenario, result)
            heal(stage.cluster)
            healed = boottime_ns()
            stage.cluster.wait_converged()
            result.converged = (boottime_ns() - healed) / SECOND
    except WENT_WRONG as error:
        if not stage.began:
            raise Unsettled from error
        result.broken.append(str(error))
        heal(stage.cluster)


def _break(stage: Stage, scenario: Scenario, result: Result) -> None:
    with Pace() as pace:
        stage.begin()
        for step in scenario.steps:
            step(stage)
        if scenario.expect is Expect.MOVES:
            what = f"a write acknowledged by another node than {stage.primary.address}"
            wait_for(stage.stored_elsewhere, PATIENCE, what, every=0.1)
        watched = stage.began + round(scenario.watched * SECOND)
        wait_for(lambda: boottime_ns() > watched, scenario.watched + 1, "time to pass")
        settled = boottime_ns() + round(SETTLE * SECOND)
        wait_for(lambda: boottime_ns() > settled, SETTLE + 1, "time to pass")
    until = boottime_ns()
    ended, lasted = rules.outage(stage.writes(), stage.began, until)
    result.service = (ended - stage.began) / SECOND
    result.outage = lasted / SECOND
    _check_expectation(stage, scenario, result, pace.limit(scenario.budget))


def _check_expectation(
    stage: Stage, scenario: Scenario, result: Result, budget: float
) -> None:
    outage, service = result.outage or 0.0, result.service or 0.0
    if scenario.expect is Expect.CLOSES:
        limit = stage.began + round(budget * SECOND)
        if late := [a for a in stage.answers() if a.sent > limit]:
            node = late[0].address
            result.broken.append(f"{node} served after {budget:.1f} s")
        return
    measured = service if scenario.expect is Expect.MOVES else outage
    if measured > budget:
        result.broken.append(f"{measured:.1f} s to service, not {budget:.1f}")
    if scenario.expect is Expect.STAYS:
        epochs = {a.epoch for a in stage.answers() if a.epoch}
        if epochs != {stage.epoch}:
            result.broken.append(f"the role moved: epochs {sorted(epochs)}")
