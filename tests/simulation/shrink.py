"""The smallest plan that still breaks a rule, and its story."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.run import Plan, Run
from tests.simulation.world import SECOND, Violated


def failure(plan: Plan) -> str | None:
    """What rule *plan* breaks, if it does."""
    try:
        Run(plan).play()
    except Violated as broken:
        return str(broken)
    return None


def shrunk(plan: Plan, fails: Callable[[Plan], str | None] = failure) -> Plan:
    """A plan with fewer and shorter faults that still breaks a rule."""
    again = True
    while again:
        again = False
        for smaller in _smaller(plan):
            if fails(smaller):
                plan, again = smaller, True
                break
    return plan


def _smaller(plan: Plan) -> Sequence[Plan]:
    faults = plan.faults
    fewer = [faults[:i] + faults[i + 1 :] for i in range(len(faults))]
    shorter = [
        (*faults[:i], replace(fault, length=fault.length // 2), *faults[i + 1 :])
        for i, fault in enumerate(faults)
        if fault.length > SECOND // 10
    ]
    plans = [replace(plan, faults=found) for found in (*fewer, *shorter)]
    if plan.rates != (1.0, 1.0, 1.0):
        plans.append(replace(plan, rates=(1.0, 1.0, 1.0)))
    return plans


def report(plan: Plan) -> str:
    """The whole story of *plan*: how to play it again, its faults and its trace."""
    run = Run(plan, trace=True)
    broken = "no rule was broken"
    try:
        run.play()
    except Violated as violated:
        broken = str(violated)
    lines = [
        f"{broken} (seed {plan.seed}); play it again with",
        f"  python -m tests.simulation --seed {plan.seed}",
        f"ttls {plan.ttls}, clock rates {plan.rates}, patient {plan.patient}",
        *(f"fault: {fault}" for fault in plan.faults),
        *(run.world.trace or ()),
    ]
    return "\n".join(lines)
