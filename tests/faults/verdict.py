"""Whether a scenario broke a rule: looks at the notes, and at the healed cluster."""

import socket
from collections.abc import Iterable
from typing import Any

from tests.faults import rules
from tests.faults.audits import stored_ops
from tests.faults.records import Answer, Outcome, Write
from tests.faults.result import Result
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for

SERVICE_PORTS = (8083, 8443, 8084)


def judge(stage: Stage, scenario: Scenario, result: Result) -> None:
    """Fill in the figures and sentences of *result*; waits until all is whole."""
    answers, writes = stage.answers(), stage.writes()
    result.dual_ms = rules.dual_nanoseconds(answers) / 1e6
    result.acknowledged = sum(w.outcome is Outcome.STORED for w in writes)
    result.unknown = len(writes) - result.acknowledged
    result.epochs = len({a.epoch for a in answers if a.epoch})
    result.broken += _one_at_most(stage, scenario, answers)
    serving = stage.cluster.nodes[stage.cluster.wait_converged()]
    result.broken += _writes_kept(stage, serving, writes, result)
    result.broken += _history_kept(stage, serving, answers)
    result.broken += _closed_means_closed(stage, serving)
    result.broken += _leftovers(stage, serving)


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
    twice = rules.duplicated(writes, found)
    result.doubled = len(twice)
    if twice:
        yield f"writes stored twice: {twice[:10]}"
    path = "/settings/logon"
    value = stage.cluster.api.call(serving.address, "GET", path)["sessionTimeoutSec"]
    if newer := rules.stale_register(writes, value):
        yield f"the register says {value}, after {newer[:10]} were acknowledged"


def _history_kept(
    stage: Stage, serving: HostedNode, answers: list[Answer]
) -> Iterable[str]:
    seen = rules.full_tenures(answers)

    def told() -> bool:
        # Ports may answer for a moment before the node knows that all are open: a
        # lease lost just then has a record too, though not one of a primary.
        return seen <= {(r["epoch"], r["address"]) for r in records()}

    def records() -> list[dict[str, Any]]:
        return list(stage.cluster.view(serving)["history"])

    try:
        wait_for(told, 8, "a history record of every epoch seen", every=0.2)
    except TimeoutError as error:
        yield f"{error}: {sorted(seen)}"
    yield from rules.history_errors(records(), stage.epoch)


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
            socket.create_connection((address, port), timeout=10).close()
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
            # The warm process, and a spare for each server, which holds no port.
            warm = sum("forkserver" in line for line in lines)
            counts["forkserver"] = 1 if warm in (1, 2, 3) else warm
        if set(counts.values()) != {1}:
            yield f"{node.host.name} runs {counts}"
