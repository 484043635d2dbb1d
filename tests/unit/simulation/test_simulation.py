"""Three simulated nodes run the real decisions, and the rules hold throughout."""

import pytest

from tests.simulation.faults import Fault
from tests.simulation.fences import FENCES, Fence
from tests.simulation.run import FAULTS_FROM, Plan, Run
from tests.simulation.shrink import failure, report, shrunk
from tests.simulation.world import MILLISECOND, SECOND

# What decides is covered by tables; thousands of steps a second are wanted here.
pytestmark = pytest.mark.unmeasured
RUNS = 500
PARTS = 5
TRIES = 200


@pytest.mark.parametrize("part", range(PARTS))
def test_no_rule_is_broken_whatever_goes_wrong(part: int) -> None:
    """R1: never two nodes that serve. R2: one serves again once the faults are over."""
    for seed in range(part * RUNS // PARTS, (part + 1) * RUNS // PARTS):
        plan = Plan.drawn(seed)

        if failure(plan):
            pytest.fail(report(shrunk(plan)), pytrace=False)


@pytest.mark.parametrize("fence", FENCES, ids=lambda fence: fence.name)
def test_each_fence_is_needed(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one fence the simulation finds a broken rule, so it would notice."""
    for thing, name, value in fence.patches:
        monkeypatch.setattr(thing, name, value)

    found = next((s for s in range(TRIES) if failure(fence.plan(s))), None)

    assert found is not None, f"in {TRIES} runs nothing went wrong without it"


def _struck(seed: int, *faults: Fault) -> Run:
    ttl = 1500 * MILLISECOND
    plan = Plan(seed, faults, (ttl, ttl, ttl), (1.0, 1.0, 1.0), patient=False)
    run = Run(plan)
    run.schedule()
    run.until(FAULTS_FROM)
    assert run.servings == 1
    return run


def _seconds_until(run: Run, seconds: float) -> float:
    """Until another node serves than the one that did; *seconds* is the limit."""
    before, began = run.server, run.world.now
    while run.world.now < began + seconds * SECOND:
        run.until(run.world.now + 5 * MILLISECOND)
        if run.server != before and any(node.serves() for node in run.nodes):
            return (run.world.now - began) / SECOND
    return float("inf")


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        pytest.param("killed", 2.0, id="node-killed"),
        pytest.param("power off", 2.0, id="host-gone"),
        pytest.param("frozen", 2.0, id="host-frozen"),
        pytest.param("isolated", 2.0, id="host-unreachable"),
        pytest.param("isolated from databases", 2.0, id="databases-unreachable"),
        pytest.param("database killed", 0.8, id="database-killed"),
        pytest.param("database frozen", 2.0, id="database-hangs"),
        pytest.param("switchover", 1.6, id="switchover"),
    ],
)
def test_another_node_serves_soon(kind: str, limit: float) -> None:
    """R2: the other two need one election to replace the node that served."""
    for seed in range(10):
        run = _struck(seed, Fault(0, kind, 0, 1, 8 * SECOND))
        terms = max(node.mongod.term for node in run.nodes)

        took = _seconds_until(run, 4.0)

        elections = max(node.mongod.term for node in run.nodes) - terms
        assert (took < limit, elections) == (True, 1), f"seed {seed}: {took} s"


@pytest.mark.parametrize(
    ("node", "other"),
    [
        pytest.param(0, 1, id="primary-and-standby"),
        pytest.param(0, 2, id="primary-and-other-standby"),
        pytest.param(1, 2, id="both-standbys"),
    ],
)
def test_a_cut_between_two_nodes_changes_nothing(node: int, other: int) -> None:
    """While the third hears both, nobody stands for election and nobody closes."""
    for seed in range(5):
        run = _struck(seed, Fault(0, "pair cut", node, other, 20 * SECOND))

        run.until(run.world.now + 15 * SECOND)

        assert (run.servings, max(n.mongod.term for n in run.nodes)) == (1, 1)


def test_a_short_silence_of_the_database_changes_nothing() -> None:
    """A renewal that was stored but never answered does not cost the lease."""
    for seed in range(20):
        hang = Fault(seed * 10 * MILLISECOND, "database frozen", 0, 1, SECOND * 4 // 5)
        run = _struck(seed, hang)

        run.until(run.world.now + 3 * SECOND)

        assert run.servings == 1, f"seed {seed}"


def test_a_node_whose_ports_fail_hands_over_and_rests() -> None:
    """A lone sick node makes way, and does not come back to try again at once."""
    for seed in range(5):
        run = _struck(
            seed,
            Fault(0, "ports sick", 0, 1, 60 * SECOND),
            Fault(1, "servers end", 0, 1, 0),
        )
        sick = run.server

        took = _seconds_until(run, 5.0)
        servings = run.servings
        run.until(run.world.now + 20 * SECOND)

        assert took < 2.5
        assert run.server != sick
        assert run.servings == servings


def test_ports_that_do_not_close_keep_nobody_from_serving() -> None:
    """A node that cannot get its ports closed has its member make way."""
    for seed in range(5):
        run = _struck(
            seed,
            Fault(0, "ports stuck", 0, 1, 60 * SECOND),
            Fault(1, "election", 1, 0, 0),
            Fault(2 * SECOND, "election", 0, 1, 0),
        )

        run.until(run.world.now + 20 * SECOND)

        assert any(node.serves() for node in run.nodes), f"seed {seed}"


def test_a_primary_whose_entries_nobody_gets_makes_way() -> None:
    """All hear it and so elect nobody else, and no majority stores its lease."""
    for seed in range(5):
        run = _struck(
            seed,
            Fault(0, "oplog hidden", 1, 0, 60 * SECOND),
            Fault(SECOND, "election", 1, 0, 0),
        )
        stuck = run.nodes[(run.server[0] + 1) % 3]

        run.until(run.world.now + 5 * SECOND)
        assert (stuck.mongod.state, stuck.serves()) == ("PRIMARY", False)
        run.until(run.world.now + 20 * SECOND)

        assert any(node.serves() for node in run.nodes), f"seed {seed}"


def test_a_failure_is_told_with_the_smallest_plan_that_shows_it() -> None:
    """What is printed can be played again, and holds no fault that does not matter."""
    needed = Fault(0, "killed", 0, 1, 3 * SECOND)
    plan = Plan.drawn(1)
    plan = type(plan)(
        1, (needed, *plan.faults), plan.ttls, plan.rates, patient=plan.patient
    )

    small = shrunk(plan, lambda p: "killed" if needed.kind in _kinds(p) else None)

    assert _kinds(small) == ["killed"]
    assert small.faults[0].length <= SECOND // 10
    assert "python -m tests.simulation --seed 1" in report(small)


def _kinds(plan: Plan) -> list[str]:
    return [fault.kind for fault in plan.faults]
