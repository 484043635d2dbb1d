"""Plays one scenario: users at work, the fault, the verdict of every rule."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults import rules
from tests.faults.audits import stored_ops
from tests.faults.records import Answer, Outcome, Write
from tests.faults.scenarios import Expect, Scenario
from tests.faults.stage import Stage
from tests.faults.steps import heal
from tests.hosts.cluster import Cluster
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.clock import SECOND, boottime_ns

# Longer than any budget: a figure over the budget is worth more than none.
PATIENCE = 40.0
SETTLE = 1.0
SERVICE_PORTS = (8083, 8443, 8084)


@dataclass(slots=True)
class Result:
    """What was measured, in seconds unless the name says else, and what is wrong."""

    name: str
    service: float | None = None
    outage: float | None = None
    converged: float | None = None
    dual_ms: float = 0.0
    acknowledged: int = 0
    unknown: int = 0
    lost: int = 0
    epochs: int = 0
    broken: list[str] = field(default_factory=list)


def play(cluster: Cluster, scenario: Scenario, number: int) -> Result:
    """Play *scenario*, heal, and check every rule. The cluster is whole afterwards."""
    stage = Stage(cluster, number)
    result = Result(scenario.name)
    try:
        with stage.users():
            _break(stage, scenario, result)
            heal(cluster)
            healed = boottime_ns()
            cluster.wait_converged()
            result.converged = (boottime_ns() - healed) / SECOND
    except (TimeoutError, AssertionError) as error:
        result.broken.append(str(error))
    finally:
        heal(cluster)
    _judge(stage, scenario, result)
    return result


def _break(stage: Stage, scenario: Scenario, result: Result) -> None:
    stage.begin()
    for step in scenario.steps:
        step(stage)
    if scenario.expect is Expect.MOVES:
        what = f"a write acknowledged by another node than {stage.primary.address}"
        wait_for(stage.stored_elsewhere, PATIENCE, what)
    watched = stage.began + round(scenario.watched * SECOND)
    wait_for(lambda: boottime_ns() > watched, scenario.watched + 1, "time to pass")
    settled = boottime_ns() + round(SETTLE * SECOND)
    wait_for(lambda: boottime_ns() > settled, SETTLE + 1, "time to pass")
    until = boottime_ns()
    ended, lasted = rules.outage(stage.writes(), stage.began, until)
    result.service = (ended - stage.began) / SECOND
    result.outage = lasted / SECOND
    _check_expectation(stage, scenario, result)


def _check_expectation(stage: Stage, scenario: Scenario, result: Result) -> None:
    outage, service = result.outage or 0.0, result.service or 0.0
    if scenario.expect is Expect.CLOSES:
        limit = stage.began + round(scenario.budget * SECOND)
        if late := [a for a in stage.answers() if a.sent > limit]:
            node = late[0].address
            result.broken.append(f"{node} served after {scenario.budget} s")
        return
    measured = service if scenario.expect is Expect.MOVES else outage
    if measured > scenario.budget:
        result.broken.append(f"{measured:.1f} s to service, not {scenario.budget:g}")
    if scenario.expect is Expect.STAYS:
        epochs = {a.epoch for a in stage.answers() if a.epoch}
        if epochs != {stage.epoch}:
            result.broken.append(f"the role moved: epochs {sorted(epochs)}")


def _judge(stage: Stage, scenario: Scenario, result: Result) -> None:
    answers, writes = stage.answers(), stage.writes()
    result.dual_ms = rules.dual_nanoseconds(answers) / 1e6
    result.acknowledged = sum(w.outcome is Outcome.STORED for w in writes)
    result.unknown = len(writes) - result.acknowledged
    result.epochs = len({a.epoch for a in answers if a.epoch})
    result.broken += _one_at_most(stage, scenario, answers)
    try:
        name = stage.cluster.wait_converged()
        serving = stage.cluster.nodes[name]
        result.broken += _writes_kept(stage, serving, writes, result)
        result.broken += _history_kept(stage, serving, answers)
        result.broken += _closed_means_closed(stage, serving)
        result.broken += _leftovers(stage, serving)
    except (TimeoutError, AssertionError) as error:
        result.broken.append(str(error))


def _one_at_most(
    stage: Stage, scenario: Scenario, answers: list[Answer]
) -> Iterable[str]:
    if dual := rules.dual_nanoseconds(answers):
        yield f"two nodes served for {dual / 1e6:.1f} ms"
    for answer in rules.answers_inside(answers)[:3]:
        yield f"answered while another served: {answer}"
    if scenario.thaws:
        address = stage.primary.address
        late = rules.late_answers(answers, address, stage.thawed_at)
        yield from (f"answered after the thaw: {answer}" for answer in late[:3])
    yield from rules.epoch_errors(answers)


def _writes_kept(
    stage: Stage, serving: HostedNode, writes: list[Write], result: Result
) -> Iterable[str]:
    found = stored_ops(stage.cluster, serving.address, stage.first_op)
    lost = rules.lost(writes, found)
    result.lost = len(lost)
    if lost:
        yield f"acknowledged writes lost: {lost[:10]}"
    if twice := rules.duplicated(writes, found):
        yield f"writes stored twice: {twice[:10]}"
    path = "/settings/logon"
    value = stage.cluster.api.call(serving.address, "GET", path)["sessionTimeoutSec"]
    if newer := rules.stale_register(writes, value):
        yield f"the register says {value}, after {newer[:10]} were acknowledged"


def _history_kept(
    stage: Stage, serving: HostedNode, answers: list[Answer]
) -> Iterable[str]:
    seen = {(a.epoch, a.address) for a in answers if a.epoch}

    def told() -> bool:
        return seen <= {(r["epoch"], r["address"]) for r in records() if _took(r)}

    def records() -> list[dict[str, str]]:
        return list(stage.cluster.view(serving)["history"])

    try:
        wait_for(told, 8, "a history record of every epoch seen", every=0.2)
    except TimeoutError as error:
        yield f"{error}: {sorted(seen)}"
    yield from rules.history_errors(records(), stage.epoch)


def _took(record: dict[str, str]) -> bool:
    return record["to"] == "primary"


def _closed_means_closed(stage: Stage, serving: HostedNode) -> Iterable[str]:
    for node in stage.cluster.nodes.values():
        if not node.ask("/v1/status")["running"]:
            yield f"{node.host.name}: the node API does not answer"
        if node is serving:
            continue
        for port in SERVICE_PORTS:
            if not _refuses(stage, node.address, port):
                yield f"{node.host.name} stands by, and port {port} does not refuse"


def _refuses(stage: Stage, address: str, port: int) -> bool:
    try:
        with stage.cluster.client.network():
            socket.create_connection((address, port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _leftovers(stage: Stage, serving: HostedNode) -> Iterable[str]:
    for node in stage.cluster.nodes.values():
        lines = list(node.host.processes().values())
        counts = {
            "node": sum("app.py run" in line for line in lines),
            "mongod": sum("bin/mongod" in line or "/mongod " in line for line in lines),
        }
        if node is not serving:
            counts["forkserver"] = sum("forkserver" in line for line in lines)
        if set(counts.values()) != {1}:
            yield f"{node.host.name} runs {counts}"
