"""What can go wrong: each kind of fault begins, and gives what ends it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from plugins.ha.consensus import transitions
from plugins.ha.consensus.state import Observation
from tests.simulation.faults import Apply, Fault, Stage
from tests.simulation.world import SECOND
from twistlock_console.system.serving_permit import FOREVER


def begin(fault: Fault, stage: Stage) -> Callable[[], object] | None:
    """Let *fault* happen; gives what ends it."""
    first = next((n.number for n in stage.nodes if n.ports.serving()), 0)
    node, other = (fault.node + first) % 3, (fault.other + first) % 3
    return KINDS[fault.kind](stage, replace(fault, node=node, other=other))


def draw(
    seed: int, count: int, span: int, kinds: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """Draw *count* faults that begin within *span*, of these *kinds* or of all."""
    chance = Random(f"faults {seed}")  # noqa: S311  it must be repeatable
    kinds = kinds or sorted(KINDS)
    found = []
    for _ in range(count):
        node = chance.choice((0, 0, 1, 2))
        long = chance.random() < 0.3
        found.append(
            Fault(
                at=chance.randrange(span),
                kind=chance.choice(kinds),
                node=node,
                other=(node + chance.randrange(1, 3)) % 3,
                length=chance.randrange((4 if long else 2) * SECOND),
            )
        )
    return tuple(sorted(found, key=lambda fault: fault.at))


def _cuts(*links: tuple[str, int, int]) -> Apply:
    """Cut links: plane ("*" for both), from, to; 0 is the node, 1 other, 2 third."""

    def begin(stage: Stage, fault: Fault) -> Callable[[], object]:
        names = (fault.node, fault.other, 3 - fault.node - fault.other)
        cuts = [
            (plane, names[source], names[target])
            for planes, source, target in links
            for plane in (("node", "mongod") if planes == "*" else (planes,))
        ]
        for cut in cuts:
            stage.network.cut(*cut)

        def end() -> None:
            for cut in cuts:
                stage.network.cut(*cut, by=-1)

        return end

    return begin


def _freeze(*, node_process: bool, mongod: bool) -> Apply:
    def begin(stage: Stage, fault: Fault) -> Callable[[], object]:
        node = stage.nodes[fault.node]
        frozen = [
            p
            for p, on in (
                (node.node_process, node_process),
                (node.mongod.process, mongod),
            )
            if on
        ]
        for process in frozen:
            process.freeze()

        def end() -> None:
            for process in frozen:
                process.thaw()

        return end

    return begin


def _crash(stage: Stage, fault: Fault) -> Callable[[], object]:
    node = stage.nodes[fault.node]
    if node.node_process.alive:
        node.kill()
    return lambda: None if node.node_process.alive else node.start()


def _power_off(stage: Stage, fault: Fault) -> Callable[[], object]:
    ends = [_crash(stage, fault), ISOLATED(stage, fault)]
    return lambda: [end() for end in ends if end is not None]


def _database_crash(stage: Stage, fault: Fault) -> Callable[[], object]:
    mongod = stage.nodes[fault.node].mongod
    if mongod.process.alive:
        mongod.kill()

    def end() -> None:
        if not mongod.process.alive and stage.nodes[fault.node].node_process.alive:
            mongod.start()

    return end


def _switchover(stage: Stage, fault: Fault) -> None:
    target = None if fault.length % 2 else f"n{fault.other}"
    node = stage.nodes[fault.node]
    node.node_process.receive(
        lambda: node.submit(
            lambda observation: transitions.request_switchover(
                observation, target, "asked"
            )
        )
    )


def _stopped(stage: Stage, fault: Fault) -> Callable[[], object]:
    """Stop in an orderly way, and start again when it ends."""
    node = stage.nodes[fault.node]

    def retire(observation: Observation) -> Observation:
        observation = transitions.enter_cooldown(
            observation, FOREVER, "it is being stopped"
        )
        return transitions.request_switchover(observation, None, "it is being stopped")

    node.node_process.receive(lambda: node.submit(retire))
    node.node_process.after(fault.length // 2, node.kill)
    return lambda: None if node.node_process.alive else node.start()


def _election(stage: Stage, fault: Fault) -> None:
    mongod = stage.nodes[fault.node].mongod
    mongod.process.receive(mongod.step_up)


def _ports_end(stage: Stage, fault: Fault) -> None:
    stage.nodes[fault.node].ports.end()


def _set(path: str, value: object) -> Apply:
    """Give something of a node, or of the network, another *value* for a while."""
    first, _, name = path.rpartition(".")

    def begin(stage: Stage, fault: Fault) -> Callable[[], object]:
        node = stage.nodes[fault.node]
        parts = {"network": stage.network, "ports": node.ports, "mongod": node.mongod}
        thing = parts.get(first, node.lease)
        before = getattr(type(thing), name, type(value)())
        setattr(thing, name, value)
        return lambda: setattr(thing, name, before)

    return begin


ISOLATED = _cuts(("*", 0, 1), ("*", 1, 0), ("*", 0, 2), ("*", 2, 0))

KINDS: dict[str, Apply] = {
    "isolated": ISOLATED,
    "isolated from databases": _cuts(
        ("mongod", 0, 1), ("mongod", 1, 0), ("mongod", 0, 2), ("mongod", 2, 0)
    ),
    "isolated from nodes": _cuts(
        ("node", 0, 1), ("node", 1, 0), ("node", 0, 2), ("node", 2, 0)
    ),
    "deaf": _cuts(("*", 1, 0), ("*", 2, 0)),
    "mute": _cuts(("*", 0, 1), ("*", 0, 2)),
    "pair cut": _cuts(("*", 0, 1), ("*", 1, 0)),
    "one way cut": _cuts(("*", 0, 1)),
    "database link cut": _cuts(("mongod", 0, 1), ("mongod", 1, 0)),
    "node link cut": _cuts(("node", 0, 1), ("node", 1, 0)),
    "loss": _set("network.loss", 0.3),
    "delay": _set("network.delay", 2 * SECOND),
    "repeated": _set("network.repeated", 0.3),
    "frozen": _freeze(node_process=True, mongod=True),
    "brain frozen": _freeze(node_process=True, mongod=False),
    "database frozen": _freeze(node_process=False, mongod=True),
    "killed": _crash,
    "power off": _power_off,
    "database killed": _database_crash,
    "slow disk": _set("mongod.slowness", SECOND),
    "clock step": _set("mongod.stubborn", value=True),
    "oplog hidden": _set("mongod.hidden", value=True),
    "late answers": _set("lease.lateness", SECOND * 3 // 4),
    "ports sick": _set("ports.sick", value=True),
    "ports stuck": _set("ports.stuck", value=True),
    "ports slow": _set("ports.slowness", 3 * SECOND),
    "servers end": _ports_end,
    "switchover": _switchover,
    "switchover asked": _switchover,
    "election": _election,
    "stopped": _stopped,
}
