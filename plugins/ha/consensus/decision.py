"""Decide what a node does next, with the sentence that says why.

Pure: `decide` is a function of the observation and the time. Its rules are ordered by
danger: first what must close, then what may open. Ports that fail are reopened with
exponential backoff.
"""

from dataclasses import dataclass

from plugins.ha.consensus.election import decide_election
from plugins.ha.consensus.lease import (
    HeldLease,
    LeaseDocument,
    ObservedLease,
    available_at,
)
from plugins.ha.consensus.state import (
    AcquireLease,
    Action,
    ClosePorts,
    FailedServer,
    Observation,
    OpenPorts,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    RenounceLease,
    ReopenServers,
    StepDown,
    StepUp,
    TransferRole,
)
from plugins.ha.consensus.switchover import best_candidate

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
#: A working majority stores a write within a second; to catch up it may take a few.
MAJORITY_TIMEOUT_NS = 10 * SECOND
LEASE_POLL_INTERVAL_NS = 50 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Decision:
    """The *actions* to start now, in order, and the *reason*.

    *wake_at* is when to decide again, if no event comes before.
    """

    actions: tuple[Action, ...]
    reason: str
    wake_at: int


def decide(observation: Observation, now: int) -> Decision:
    """Return what this node does next; in doubt it stands by."""
    if observation.held_lease is not None:
        return _as_holder(observation, observation.held_lease, now)
    if observation.ports in (Ports.OPEN, Ports.FAILED, Ports.PAUSED):
        return Decision((ClosePorts(),), "ports were open without the lease", now)
    if observation.ports is not Ports.CLOSED:
        return _wait_for_closed_ports(observation, now)
    if observation.member is None:
        return _wait(observation, "the local database does not answer", now)
    if observation.member.writable:
        return _as_candidate(observation, now)
    return _as_standby(observation, now)


def _wait_for_closed_ports(observation: Observation, now: int) -> Decision:
    """Wait until the ports are closed; let another node become primary meanwhile."""
    writable = observation.member is not None and observation.member.writable
    actions = _step_down_if_primary(observation, now) if writable else ()
    reason = f"the service ports are {observation.ports}"
    return Decision(actions, reason, now + observation.timing.heartbeat_interval)


def _as_holder(observation: Observation, held: HeldLease, now: int) -> Decision:
    """Serve under the lease, or close if it is lost, or transfer the role."""
    if loss := _loss_reason(observation, held, now):
        return Decision(
            (RenounceLease(), ClosePorts(), *_step_down_if_primary(observation, now)),
            loss,
            now,
        )
    if observation.switchover_request is not None:
        return _transfer_role(
            observation, held, observation.switchover_request.reason, now
        )
    epoch = held.document.epoch
    if observation.ports is Ports.CLOSED:
        reason = f"the lease was acknowledged (epoch {epoch})"
        return Decision((OpenPorts(epoch),), reason, now)
    if _must_reopen(observation, now):
        return Decision((ClosePorts(),), "reopening the service ports", now)
    if any(now >= _server_reopen_at(each) for each in _servers_to_reopen(observation)):
        reason = f"reopening the failed servers: {_closed_server_names(observation)}"
        return Decision((ReopenServers(),), reason, now)
    exception = (
        f", but closed: {_closed_server_names(observation)}"
        if observation.closed_servers
        else ""
    )
    return _renew_if_due(
        observation, held, f"serving under epoch {epoch}{exception}", now
    )


def _transfer_role(
    observation: Observation, held: HeldLease, reason: str, now: int
) -> Decision:
    """Close the ports, then release the lease, then step down; in this order only."""
    match observation.ports:
        case Ports.OPEN:
            return Decision((ClosePorts(drain=True),), reason, now)
        case Ports.FAILED | Ports.PAUSED:
            return Decision((ClosePorts(),), reason, now)
        case Ports.CLOSED:
            return Decision(
                (RenounceLease(), _transfer_action(observation, held, now)), reason, now
            )
        case _:
            return _renew_if_due(observation, held, reason, now)


def _transfer_action(observation: Observation, held: HeldLease, now: int) -> Action:
    """Return the action that passes the role on, or only gives it up."""
    asked_for = (
        observation.switchover_request.target
        if observation.switchover_request
        else None
    )
    target = asked_for or best_candidate(observation, now)
    if target is None:
        return ReleaseLease(_stored_lease(observation, held))
    return TransferRole(_stored_lease(observation, held), target)


def _stored_lease(observation: Observation, held: HeldLease) -> LeaseDocument:
    """Return our lease as the database has it, also after a renewal without answer.

    Such a renewal may have been stored; a compare-and-set that expects the document
    before it would fail.
    """
    if observation.observed_lease is None:
        return held.document
    found, ours = observation.observed_lease.document, held.document
    same = (found.holder, found.epoch) == (ours.holder, ours.epoch)
    return found if same and found.seq > ours.seq else ours


def _renew_if_due(
    observation: Observation, held: HeldLease, reason: str, now: int
) -> Decision:
    """Renew the lease if it is time; otherwise wait for the next due time."""
    if now >= held.renew_at and not observation.lease_request_pending:
        return Decision(
            (RenewLease(_stored_lease(observation, held), observation.next_ttl),),
            reason,
            held.deadline,
        )
    wake_at = (
        held.deadline
        if observation.lease_request_pending
        else min(held.renew_at, held.deadline)
    )
    if observation.ports is Ports.FAILED:
        wake_at = min(wake_at, _ports_reopen_at(observation))
    wake_at = min(
        wake_at,
        *(_server_reopen_at(each) for each in _servers_to_reopen(observation)),
        wake_at,
    )
    return Decision((), reason, max(wake_at, now))


def _must_reopen(observation: Observation, now: int) -> bool:
    failed = observation.ports is Ports.FAILED and now >= _ports_reopen_at(observation)
    return failed or observation.ports is Ports.PAUSED


def _ports_reopen_at(observation: Observation) -> int:
    return observation.ports_failed_at + _backoff(observation.port_failures)


def _servers_to_reopen(observation: Observation) -> tuple[FailedServer, ...]:
    """Return the servers to reopen while the others go on."""
    if observation.ports is not Ports.OPEN or observation.reopen_pending:
        return ()
    return observation.closed_servers


def _server_reopen_at(server: FailedServer) -> int:
    return server.failed_at + _backoff(server.count)


def _backoff(failures: int) -> int:
    """Return the nanoseconds to wait after so many *failures* in a row."""
    doubled: int = 2 ** min(failures, 8)
    return min(doubled * 50 * MILLISECOND, 10 * SECOND)


def _closed_server_names(observation: Observation) -> str:
    return " and ".join(each.name for each in observation.closed_servers)


def _loss_reason(observation: Observation, held: HeldLease, now: int) -> str | None:
    """Return why the lease must be given up now; None while it may be kept."""
    if now >= held.deadline:
        return "the lease was not renewed in time"
    if observation.member is None:
        return None
    if not observation.member.alive:
        return "the local database ended"
    if not observation.member.writable:
        return f"the local database is {observation.member.state} now"
    return None


def _step_down_if_primary(observation: Observation, now: int) -> tuple[Action, ...]:
    """Return a step-down, if our member may still be primary in a set of several."""
    writable = observation.member is None or observation.member.writable
    if not observation.peers or not writable or observation.election_step_pending:
        return ()
    return (StepDown(),) if now >= observation.election_step_ended_at + SECOND else ()


def _as_candidate(observation: Observation, now: int) -> Decision:
    """Acquire the lease as the elected member, as soon as it is available."""
    actions: tuple[Action, ...]
    if now < observation.cooldown_until:
        actions = _step_down_if_primary(observation, now)
        return Decision(
            actions,
            observation.cooldown_reason,
            min(observation.cooldown_until, now + SECOND),
        )
    if observation.observed_lease is None:
        actions = () if observation.lease_request_pending else (ReadLease(),)
        return Decision(
            actions, "elected; reading the lease", now + LEASE_POLL_INTERVAL_NS
        )
    renounced = _holder_renounced(observation, observation.observed_lease)
    wait_until = available_at(
        observation.observed_lease,
        self_address=observation.self_address,
        holder_renounced=renounced,
    )
    holder = observation.observed_lease.document.holder
    if now < wait_until:
        wait = (wait_until - now) / 1e9
        reason = f"elected; the lease of {holder} expires in {wait:.1f} s"
        return Decision((), reason, wait_until)
    if _is_majority_missing(observation, wait_until, now):
        # Its entries may be hidden from the others, which hear it and so elect no
        # other. The cooldown keeps a late answer from giving it the lease meanwhile.
        reason = (
            f"elected, and for {MAJORITY_TIMEOUT_NS // SECOND} s no majority "
            "stored the lease"
        )
        actions = _step_down_if_primary(observation, now)
        actions = (RenounceLease(), *actions) if actions else ()
        return Decision(actions, reason, now + SECOND)
    if observation.lease_request_pending:
        return _wait(observation, "elected; acquiring the lease", now)
    return Decision(
        (AcquireLease(observation.observed_lease.document, observation.next_ttl),),
        "elected; the lease is available",
        now + LEASE_POLL_INTERVAL_NS,
    )


def _is_majority_missing(observation: Observation, wait_until: int, now: int) -> bool:
    """Return whether no majority acknowledged our lease, while a quorum could.

    Only if the healthy peers are a quorum without us: fewer could not elect another
    member in our place.
    """
    free_since = max(
        wait_until,
        observation.writable_since,
        observation.election_step_ended_at,
        observation.cooldown_until,
    )
    healthy = [
        peer
        for peer in observation.peers
        if peer.is_healthy_standby
        and observation.is_reachable(peer, now)
        and now >= peer.healthy_since + MAJORITY_TIMEOUT_NS
    ]
    return (
        now >= free_since + MAJORITY_TIMEOUT_NS
        and 2 * len(healthy) > len(observation.peers) + 1
    )


def _holder_renounced(observation: Observation, observed: ObservedLease) -> bool:
    """Return whether the holder renounced the *observed* lease.

    Its answer counts only if the request was sent after the lease was observed.
    """
    holder = observation.peer(observed.document.holder)
    return (
        holder is not None
        and holder.heard_at > observed.changed_at
        and holder.serving_epoch != observed.document.epoch
        and not holder.acquire_pending
    )


def _as_standby(observation: Observation, now: int) -> Decision:
    election = decide_election(observation, now)
    actions: tuple[Action, ...] = (StepUp(),) if election.now else ()
    return Decision(actions, election.reason, election.wake_at)


def _wait(observation: Observation, reason: str, now: int) -> Decision:
    return Decision((), reason, now + observation.timing.heartbeat_interval)
