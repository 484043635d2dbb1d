"""State transitions of `Observation`, for local actions and for incoming events.

Pure. The control loop and the simulation use the same functions. A node that gave up
the lease enters a cooldown, so that two failing nodes do not pass the role to and fro.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease
from plugins.ha.consensus.lease_duration import LeaseDuration, after_renewal
from plugins.ha.consensus.state import (
    AcquireLease,
    Action,
    ClosePorts,
    FailedServer,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    RenounceLease,
    ReopenServers,
    StepDown,
    StepUp,
    SwitchoverRequest,
    TransferRole,
)
from plugins.ha.consensus.switchover import best_candidate

SECOND = 1_000_000_000
#: The cooldown after the lease was given up; doubled for each failure of the ports.
COOLDOWN_NS = 5 * SECOND
MAX_COOLDOWN_NS = 60 * SECOND
#: Failures of the ports in a row after which the role goes to another node.
SWITCHOVER_PORT_FAILURES = 2
#: How long ports must stay open until their earlier failures are forgotten.
PORTS_STABLE_NS = 30 * SECOND


@dataclass(frozen=True, slots=True)
class ServerFailure:
    """The failure of the service server *name*: it ended, or could not be opened."""

    name: str
    reason: str


def action_started(  # noqa: C901, PLR0911  a table
    observation: Observation, action: Action, reason: str, now: int
) -> Observation:
    """Apply the start of *action*, which was decided for *reason*."""
    match action:
        case ReadLease():
            return replace(observation, lease_request_pending=True)
        case AcquireLease():
            return replace(
                observation, lease_request_pending=True, acquire_pending=True
            )
        case RenewLease(_, ttl):
            return _renewal_started(observation, ttl, now)
        case OpenPorts():
            return replace(observation, ports=Ports.OPENING, reopen_pending=False)
        case ReopenServers():
            return replace(observation, reopen_pending=True)
        case ClosePorts():
            return replace(observation, ports=Ports.CLOSING)
        case RenounceLease():
            return _lease_renounced(observation, reason, now)
        case StepDown() | StepUp() | TransferRole():
            return replace(observation, election_step_pending=True)
        case ReleaseLease():  # pragma: no branch  there is no other action
            return observation


def _renewal_started(observation: Observation, ttl: int, now: int) -> Observation:
    """Shorten our deadline before others can see a shorter lease."""
    held = observation.held_lease
    return replace(
        observation,
        lease_request_pending=True,
        held_lease=held.shortened(ttl, now) if held else None,
    )


def _lease_renounced(observation: Observation, reason: str, now: int) -> Observation:
    """Give up the lease, and enter a cooldown that grows with each port failure."""
    epoch = (
        observation.held_lease.document.epoch
        if observation.held_lease
        else observation.last_renounced_epoch
    )
    cooldown = (
        min(COOLDOWN_NS * 2 ** min(observation.port_failures, 8), MAX_COOLDOWN_NS)
        if observation.peers
        else 0
    )
    renounced = replace(
        observation,
        held_lease=None,
        last_renounced_epoch=epoch,
        switchover_request=None,
    )
    return enter_cooldown(renounced, now + cooldown, f"cooldown: {reason}")


def enter_cooldown(observation: Observation, until: int, reason: str) -> Observation:
    """Start a cooldown that ends at *until*, unless one is longer already."""
    if until <= observation.cooldown_until:
        return observation
    return replace(observation, cooldown_until=until, cooldown_reason=reason)


def request_switchover(
    observation: Observation, target: str | None, reason: str
) -> Observation:
    """Start a switchover, if this node holds the lease and none is under way."""
    if observation.switchover_request is not None or observation.held_lease is None:
        return observation
    return replace(observation, switchover_request=SwitchoverRequest(target, reason))


def member_polled(
    observation: Observation,
    member: Member | None,
    optime: tuple[int, int] | None,
    now: int,
) -> Observation:
    """Apply an answer of our mongod to `hello`.

    Both are None when it did not answer in time.
    """
    before = observation.member.primary if observation.member else None
    named = member.primary if member else None
    was_writable = observation.member is not None and observation.member.writable
    return replace(
        observation,
        member=member,
        optime=optime or observation.optime,
        primary_changed_at=observation.primary_changed_at if named == before else now,
        writable_since=observation.writable_since if was_writable else now,
    )


def heartbeat_received(observation: Observation, peer: Peer) -> Observation:
    """Apply the new state of *peer*, after its answer to a heartbeat or its refusal."""
    return replace(
        observation,
        peers=tuple(
            _with_healthy_since(peer, old, observation)
            if old.address == peer.address
            else old
            for old in observation.peers
        ),
    )


def _with_healthy_since(peer: Peer, before: Peer, observation: Observation) -> Peer:
    gap = peer.heard_at - before.heard_at
    same = (
        peer.is_healthy_standby
        and before.is_healthy_standby
        and gap < observation.unreachable_after
    )
    return replace(peer, healthy_since=before.healthy_since if same else peer.heard_at)


def members_changed(
    observation: Observation, member_id: int, members: dict[str, int]
) -> Observation:
    """Replace the peers by the other *members*: member ids by address."""
    peers = tuple(
        observation.peer(address) or Peer(address, number)
        for address, number in sorted(members.items())
    )
    return replace(observation, member_id=member_id, peers=peers)


def lease_observed(
    observation: Observation, document: LeaseDocument, now: int
) -> Observation:
    """Apply the lease as our member has it; the answer came at *now*."""
    before = observation.observed_lease
    observed = before.updated(document, now) if before else ObservedLease(document, now)
    if observed is before:
        return observation
    changed = replace(observation, observed_lease=observed)
    if document.released or document.holder == observation.self_address:
        return changed
    # The next holder begins with what the last one needed: what slows one host down,
    # a backup or a busy hypervisor, often slows all of them.
    inherited = LeaseDuration(
        observation.timing.lease.bounded(document.ttl),
        f"{document.holder} held the lease for so long",
        now,
    )
    return replace(changed, lease_duration=inherited)


def lease_write_failed(observation: Observation, sent_at: int, now: int) -> Observation:
    """Choose a longer ttl if a renewal, sent at *sent_at*, had no answer by *now*."""
    return _renewal_timed(observation, sent_at, now)


def _renewal_timed(observation: Observation, sent_at: int, now: int) -> Observation:
    """Choose the next ttl: a renewal that was sent at *sent_at* ended at *now*.

    It counts from when it was due: a wait for the processor is part of it. How long it
    took to acquire the lease says nothing: there may have been no majority.
    """
    held = observation.held_lease
    if held is None:
        return observation
    due = min(held.renew_at, sent_at)
    current = observation.lease_duration or LeaseDuration(
        observation.timing.lease.start, "a node begins with it", now
    )
    chosen = after_renewal(current, now - due, now, observation.timing.lease)
    return replace(observation, lease_duration=chosen)


def lease_request_finished(observation: Observation) -> Observation:
    """End the lease request in flight, whatever its outcome."""
    return replace(observation, lease_request_pending=False, acquire_pending=False)


def lease_acknowledged(
    observation: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    """Hold the lease: a majority acknowledged *document*, sent at *sent_at*.

    Fencing: a renewal that is acknowledged after the lease was renounced gives nothing
    back, because peers were promised that this node does not serve under its epoch. Nor
    does a lease that arrives in a cooldown: this node may be stopping.
    """
    observation = _renewal_timed(observation, sent_at, now)
    observation = lease_observed(observation, document, now)
    if document.epoch <= observation.last_renounced_epoch:
        return observation
    if observation.held_lease is None and now < observation.cooldown_until:
        return observation
    return replace(observation, held_lease=HeldLease.acknowledged(document, sent_at))


def ports_opened(observation: Observation) -> Observation:
    """Note that at least one service server answers, unless all failed since."""
    return (
        replace(observation, ports=Ports.OPEN)
        if observation.ports is Ports.OPENING
        else observation
    )


def server_failed(
    observation: Observation, failure: ServerFailure, now: int, *, others_run: bool
) -> Observation:
    """Apply the failure of a service server.

    While *others_run* the ports stay open, and that server alone is reopened. After the
    deadline of the lease it is no failure: servers then end themselves, as they must.
    """
    is_expired = (
        observation.held_lease is not None and now >= observation.held_lease.deadline
    )
    if is_expired or observation.ports not in (Ports.OPENING, Ports.OPEN):
        return observation
    before = next(
        (f.count for f in observation.failed_servers if f.name == failure.name), 0
    )
    failed = _with_failed_server(
        observation, FailedServer(failure.name, before + 1, now)
    )
    if not others_run:
        failed = replace(failed, ports=Ports.FAILED)
    if failed.port_failures < SWITCHOVER_PORT_FAILURES or not observation.peers:
        return failed
    if others_run and best_candidate(observation, now) is None:
        # Closing the other servers too would help no client.
        return failed
    # Requested once, here: the same failures must not end the next term, too.
    return request_switchover(
        failed, None, f"the service ports do not stay open here: {failure.reason}"
    )


def servers_reopened(observation: Observation, closed: Collection[str]) -> Observation:
    """Note that all failed servers but those in *closed* are open again."""
    servers = (
        replace(each, is_closed=each.is_closed and each.name in closed)
        for each in observation.failed_servers
    )
    return replace(observation, failed_servers=tuple(servers), reopen_pending=False)


def servers_polled(
    observation: Observation, closed: Collection[str], now: int
) -> Observation:
    """Apply a poll of the servers; reopen *closed* ones whose failure was missed."""
    if observation.ports is not Ports.OPEN or observation.reopen_pending:
        return observation
    for name in set(closed) - {each.name for each in observation.closed_servers}:
        count = next((f.count for f in observation.failed_servers if f.name == name), 0)
        observation = _with_failed_server(observation, FailedServer(name, count, now))
    return observation


def _with_failed_server(observation: Observation, server: FailedServer) -> Observation:
    others = (each for each in observation.failed_servers if each.name != server.name)
    servers = tuple(sorted((*others, server), key=lambda each: each.name))
    return replace(
        observation,
        failed_servers=servers,
        port_failures=max(observation.port_failures, server.count),
        ports_failed_at=server.failed_at,
    )


def ports_paused(observation: Observation, reason: str) -> Observation:
    """Note that the service ports were closed on purpose and must be reopened.

    That neither counts as a failure, nor makes up for one.
    """
    if observation.ports not in (Ports.OPENING, Ports.OPEN):
        return observation
    return replace(observation, ports=Ports.PAUSED, pause_reason=reason)


def ports_close_failed(observation: Observation, now: int) -> Observation:
    """Note that the service ports did not close; the decision closes them again."""
    return replace(observation, ports=Ports.FAILED, ports_failed_at=now)


def ports_closed(observation: Observation) -> Observation:
    """Note that the service ports refuse connections."""
    opened = servers_reopened(observation, ())
    return replace(opened, ports=Ports.CLOSED)


def ports_proven_stable(observation: Observation, now: int) -> Observation:
    """Forget earlier failures of ports that stayed open for PORTS_STABLE_NS."""
    is_stable = observation.ports is Ports.OPEN and not observation.closed_servers
    if is_stable and now > observation.ports_failed_at + PORTS_STABLE_NS:
        return replace(observation, port_failures=0, failed_servers=())
    return observation


def election_step_finished(observation: Observation, now: int) -> Observation:
    """Note that the step up or down of our member ended, or was refused."""
    return replace(observation, election_step_pending=False, election_step_ended_at=now)
