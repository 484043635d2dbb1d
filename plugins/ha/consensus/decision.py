"""The decision: what a node does next, and the sentence that says why.

Pure: `decide(observation, now)` looks at values and returns values. The order of
the rules is the order of danger: first what must close, then what may open.
"""

from dataclasses import dataclass

from plugins.ha.consensus.election import should_step_up
from plugins.ha.consensus.lease import (
    HeldLease,
    LeaseDocument,
    ObservedLease,
    available_at,
)
from plugins.ha.consensus.state import (
    Action,
    ClosePorts,
    DropLease,
    FailedServer,
    HandOver,
    Observation,
    OpenPorts,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    ReopenServers,
    StepDown,
    StepUp,
    TakeLease,
)
from plugins.ha.consensus.switchover import best

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
#: A majority stores within a second where it can; catching up may take a few.
STUCK = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, in order, and why; *wake_at* is when to look again."""

    actions: tuple[Action, ...]
    reason: str
    wake_at: int


def decide(seen: Observation, now: int) -> Decision:
    """Say what this node does next. When in doubt, it stands by."""
    if seen.hold is not None:
        return _as_holder(seen, seen.hold, now)
    if seen.ports in (Ports.OPEN, Ports.FAILED, Ports.PAUSED):
        return Decision((ClosePorts(),), "ports were open without the lease", now)
    if seen.ports is not Ports.CLOSED:
        return _while_closing(seen, now)
    if seen.member is None:
        return _wait(seen, "the local database does not answer", now)
    if seen.member.writable:
        return _as_candidate(seen, now)
    return _as_standby(seen, now)


def _while_closing(seen: Observation, now: int) -> Decision:
    """Ports that will not close keep this node from serving, so another must."""
    writable = seen.member is not None and seen.member.writable
    actions = _leave(seen, now) if writable else ()
    reason = f"the service ports are {seen.ports}"
    return Decision(actions, reason, now + seen.timing.heartbeat)


def _as_holder(seen: Observation, hold: HeldLease, now: int) -> Decision:
    if loss := _lost(seen, hold, now):
        return Decision((DropLease(), ClosePorts(), *_leave(seen, now)), loss, now)
    if seen.handover is not None:
        return _go(seen, hold, seen.handover.reason, now)
    epoch = hold.document.epoch
    if seen.ports is Ports.CLOSED:
        reason = f"the lease was acknowledged (epoch {epoch})"
        return Decision((OpenPorts(epoch),), reason, now)
    if _must_reopen(seen, now):
        return Decision((ClosePorts(),), "opening the service ports again", now)
    if any(now >= _server_due(each) for each in _to_reopen(seen)):
        reason = f"opening again what failed: {_names(seen)}"
        return Decision((ReopenServers(),), reason, now)
    without = f", but closed: {_names(seen)}" if seen.closed_servers else ""
    return _hold_on(seen, hold, f"serving under epoch {epoch}{without}", now)


def _go(seen: Observation, hold: HeldLease, reason: str, now: int) -> Decision:
    """Hand over: close, then release, then step down; in this order only."""
    match seen.ports:
        case Ports.OPEN:
            return Decision((ClosePorts(drain=True),), reason, now)
        case Ports.FAILED | Ports.PAUSED:
            return Decision((ClosePorts(),), reason, now)
        case Ports.CLOSED:
            return Decision((DropLease(), _pass_on(seen, hold, now)), reason, now)
        case _:
            return _hold_on(seen, hold, reason, now)


def _pass_on(seen: Observation, hold: HeldLease, now: int) -> Action:
    asked_for = seen.handover.target if seen.handover else None
    heir = asked_for or best(seen, now)
    if heir is None:
        return ReleaseLease(_as_stored(seen, hold))
    return HandOver(_as_stored(seen, hold), heir)


def _as_stored(seen: Observation, hold: HeldLease) -> LeaseDocument:
    """Return our lease as the database has it, also after a renewal with no answer.

    Such a renewal may have been stored; to go on from before it would then fail.
    """
    if seen.sighting is None:
        return hold.document
    found, ours = seen.sighting.document, hold.document
    same = (found.holder, found.epoch) == (ours.holder, ours.epoch)
    return found if same and found.seq > ours.seq else ours


def _hold_on(seen: Observation, hold: HeldLease, reason: str, now: int) -> Decision:
    if now >= hold.renew_at and not seen.asking:
        return Decision((RenewLease(_as_stored(seen, hold)),), reason, hold.deadline)
    wake_at = hold.deadline if seen.asking else min(hold.renew_at, hold.deadline)
    if seen.ports is Ports.FAILED:
        wake_at = min(wake_at, _reopen_at(seen))
    wake_at = min(wake_at, *(_server_due(each) for each in _to_reopen(seen)), wake_at)
    return Decision((), reason, max(wake_at, now))


def _must_reopen(seen: Observation, now: int) -> bool:
    failed = seen.ports is Ports.FAILED and now >= _reopen_at(seen)
    return failed or seen.ports is Ports.PAUSED


def _reopen_at(seen: Observation) -> int:
    return seen.failed_at + _backoff(seen.failures)


def _to_reopen(seen: Observation) -> tuple[FailedServer, ...]:
    """Return the servers to open again while the others go on."""
    if seen.ports is not Ports.OPEN or seen.reopening:
        return ()
    return seen.closed_servers


def _server_due(server: FailedServer) -> int:
    return server.failed_at + _backoff(server.count)


def _backoff(failures: int) -> int:
    doubled: int = 2 ** min(failures, 8)
    return min(doubled * 50 * MILLISECOND, 10 * SECOND)


def _names(seen: Observation) -> str:
    return " and ".join(each.name for each in seen.closed_servers)


def _lost(seen: Observation, hold: HeldLease, now: int) -> str | None:
    if now >= hold.deadline:
        return "the lease was not renewed in time"
    if seen.member is None:
        return None
    if not seen.member.alive:
        return "the local database ended"
    if not seen.member.writable:
        return f"the local database is {seen.member.state} now"
    return None


def _leave(seen: Observation, now: int) -> tuple[Action, ...]:
    """Make way for another primary, where our member may still be one."""
    writable = seen.member is None or seen.member.writable
    if not seen.peers or not writable or seen.stepping:
        return ()
    return (StepDown(),) if now >= seen.stepped_at + SECOND else ()


def _as_candidate(seen: Observation, now: int) -> Decision:
    actions: tuple[Action, ...]
    if now < seen.resting_until:
        actions = _leave(seen, now)
        return Decision(
            actions, seen.resting_reason, min(seen.resting_until, now + SECOND)
        )
    if seen.sighting is None:
        actions = () if seen.asking else (ReadLease(),)
        return Decision(actions, "elected; the lease is not read yet", now + _BEAT)
    renounced = _holder_renounced(seen, seen.sighting)
    wait_until = available_at(seen.sighting, me=seen.me, holder_renounced=renounced)
    holder = seen.sighting.document.holder
    if now < wait_until:
        wait = (wait_until - now) / 1e9
        reason = f"elected; the lease of {holder} runs out in {wait:.1f} s"
        return Decision((), reason, wait_until)
    if _is_stuck(seen, wait_until, now):
        # Its entries may be hidden from the others, who hear it and so elect nobody.
        # It rests, so that no late answer gives it the lease while it steps down.
        reason = f"elected, and for {STUCK // SECOND} s no majority stored the lease"
        actions = _leave(seen, now)
        actions = (DropLease(), *actions) if actions else ()
        return Decision(actions, reason, now + SECOND)
    if seen.asking:
        return _wait(seen, "elected; asked for the lease", now)
    return Decision(
        (TakeLease(seen.sighting.document),), "elected; the lease is free", now + _BEAT
    )


def _is_stuck(seen: Observation, wait_until: int, now: int) -> bool:
    """Return whether a majority of healthy peers has long kept us from the lease.

    They must be a majority without us: fewer cannot elect anybody in our place.
    """
    free_since = max(
        wait_until, seen.writable_since, seen.stepped_at, seen.resting_until
    )
    well = [
        peer
        for peer in seen.peers
        if peer.is_well and seen.is_heard(peer, now) and now >= peer.well_since + STUCK
    ]
    return now >= free_since + STUCK and 2 * len(well) > len(seen.peers) + 1


def _holder_renounced(seen: Observation, sighting: ObservedLease) -> bool:
    """Return whether the holder said so in answer to a request sent after we saw it."""
    holder = seen.peer(sighting.document.holder)
    return (
        holder is not None
        and holder.heard_at > sighting.changed_at
        and holder.holding != sighting.document.epoch
        and not holder.taking
    )


def _as_standby(seen: Observation, now: int) -> Decision:
    call = should_step_up(seen, now)
    actions: tuple[Action, ...] = (StepUp(),) if call.now else ()
    return Decision(actions, call.reason, call.wake_at)


_BEAT = 50 * MILLISECOND


def _wait(seen: Observation, reason: str, now: int) -> Decision:
    return Decision((), reason, now + seen.timing.heartbeat)
