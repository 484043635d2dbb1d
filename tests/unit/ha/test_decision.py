"""Rules of the decision: what a node does next, and the sentence that says why."""

from dataclasses import replace

import pytest

from plugins.ha.consensus.decision import Decision, decide
from plugins.ha.consensus.lease import LeaseDocument, ObservedLease
from plugins.ha.consensus.state import (
    DEAD_MEMBER,
    AcquireLease,
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
from tests.ha.sketch import (
    HOLD,
    LEASE,
    LEASE_OF_B,
    MS,
    NOW,
    PRIMARY,
    SECOND,
    SECONDARY,
    TTL,
    B,
    C,
    observe,
    observed,
    peer,
)

SERVING = observe(
    member=PRIMARY,
    held_lease=HOLD,
    ports=Ports.OPEN,
    observed_lease=observed(LEASE, ago=100),
)
ELECTED = observe(
    member=PRIMARY, writable_since=NOW, observed_lease=observed(LEASE_OF_B, ago=500)
)
STUCK = replace(
    ELECTED,
    writable_since=NOW - 10 * SECOND,
    observed_lease=observed(LEASE_OF_B, ago=20_000),
)
NOT_STORED = "elected, and for 10 s no majority stored the lease"
ASKED = SwitchoverRequest(None, "asked by admin")
BEAT = NOW + 200 * MS
SOON = NOW + 50 * MS


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        pytest.param(
            observe(member=PRIMARY, ports=Ports.OPEN),
            Decision((ClosePorts(),), "ports were open without the lease", NOW),
            id="open",
        ),
        pytest.param(
            observe(member=PRIMARY, ports=Ports.FAILED),
            Decision((ClosePorts(),), "ports were open without the lease", NOW),
            id="failed",
        ),
        pytest.param(
            observe(member=PRIMARY, ports=Ports.PAUSED),
            Decision((ClosePorts(),), "ports were open without the lease", NOW),
            id="paused",
        ),
        pytest.param(
            observe(member=PRIMARY, ports=Ports.CLOSING),
            Decision((StepDown(),), "the service ports are closing", BEAT),
            id="closing-while-elected",
        ),
        pytest.param(
            observe(member=SECONDARY, ports=Ports.OPENING),
            Decision((), "the service ports are opening", BEAT),
            id="opening-as-secondary",
        ),
        pytest.param(
            observe(ports=Ports.CLOSING),
            Decision((), "the service ports are closing", BEAT),
            id="closing-with-a-silent-database",
        ),
        pytest.param(
            observe(),
            Decision((), "the local database does not answer", BEAT),
            id="silent-database",
        ),
    ],
)
def test_without_the_lease_ports_are_closed(
    observation: Observation, expected: Decision
) -> None:
    """Nothing is asked for before the ports refuse and the database answers."""
    assert decide(observation, NOW) == expected


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        pytest.param(
            replace(ELECTED, observed_lease=None),
            Decision((ReadLease(),), "elected; reading the lease", SOON),
            id="not-read",
        ),
        pytest.param(
            replace(ELECTED, observed_lease=None, lease_request_pending=True),
            Decision((), "elected; reading the lease", SOON),
            id="reading",
        ),
        pytest.param(
            ELECTED,
            Decision(
                (AcquireLease(LEASE_OF_B, TTL),),
                "elected; the lease is available",
                NOW + 50 * MS,
            ),
            id="renounced",
        ),
        pytest.param(
            replace(ELECTED, observed_lease=observed(LEASE_OF_B, ago=1500), peers=()),
            Decision(
                (AcquireLease(LEASE_OF_B, TTL),),
                "elected; the lease is available",
                SOON,
            ),
            id="waited-out",
        ),
        pytest.param(
            replace(ELECTED, observed_lease=observed(LEASE_OF_B.as_released(), ago=0)),
            Decision(
                (AcquireLease(LEASE_OF_B.as_released(), TTL),),
                "elected; the lease is available",
                SOON,
            ),
            id="released",
        ),
        pytest.param(
            replace(ELECTED, observed_lease=observed(LEASE, ago=0)),
            Decision(
                (AcquireLease(LEASE, TTL),), "elected; the lease is available", SOON
            ),
            id="our-own-of-before",
        ),
        pytest.param(
            replace(ELECTED, lease_request_pending=True),
            Decision((), "elected; acquiring the lease", BEAT),
            id="asked-for",
        ),
        pytest.param(
            replace(STUCK, lease_request_pending=True),
            Decision((RenounceLease(), StepDown()), NOT_STORED, NOW + SECOND),
            id="not-stored-for-long",
        ),
        pytest.param(
            replace(STUCK, lease_request_pending=True, election_step_pending=True),
            Decision((), NOT_STORED, NOW + SECOND),
            id="not-stored-for-long-and-stepping-down",
        ),
        *(
            pytest.param(
                replace(STUCK, lease_request_pending=True, **{since: NOW - 9 * SECOND}),
                Decision((), "elected; acquiring the lease", BEAT),
                id=f"not-stored-for-nine-seconds-of-{since}",
            )
            for since in ("writable_since", "election_step_ended_at", "cooldown_until")
        ),
        pytest.param(
            replace(
                STUCK,
                lease_request_pending=True,
                peers=(
                    peer(B, acquire_pending=True),
                    peer(C, healthy_since=NOW - 10 * SECOND),
                ),
            ),
            Decision((RenounceLease(), StepDown()), NOT_STORED, NOW + SECOND),
            id="not-stored-and-the-other-well-for-ten-seconds",
        ),
        pytest.param(
            replace(
                STUCK,
                lease_request_pending=True,
                observed_lease=observed(LEASE_OF_B, ago=1500 + 9000),
                peers=(peer(B, acquire_pending=True), peer(C)),
            ),
            Decision((), "elected; acquiring the lease", BEAT),
            id="not-stored-and-the-lease-ran-out-nine-seconds-ago",
        ),
        pytest.param(
            replace(STUCK, lease_request_pending=True, peers=(peer(B),)),
            Decision((), "elected; acquiring the lease", BEAT),
            id="not-stored-in-a-set-of-two",
        ),
        *(
            pytest.param(
                replace(STUCK, lease_request_pending=True, peers=(peer(B), other)),
                Decision((), "elected; acquiring the lease", BEAT),
                id=f"not-stored-and-the-other-{why}",
            )
            for why, other in {
                "silent": peer(C, ago=900),
                "syncing": peer(C, state="STARTUP2"),
                "cooldown": peer(C, in_cooldown=True),
                "well-for-nine-seconds": peer(C, healthy_since=NOW - 9 * SECOND),
            }.items()
        ),
        pytest.param(
            replace(ELECTED, cooldown_until=NOW, cooldown_reason="cooldown: x"),
            Decision(
                (AcquireLease(LEASE_OF_B, TTL),),
                "elected; the lease is available",
                SOON,
            ),
            id="cooldown-is-over",
        ),
        pytest.param(
            replace(
                ELECTED,
                cooldown_until=NOW + 9 * SECOND,
                cooldown_reason="cooldown",
                election_step_ended_at=NOW - SECOND,
            ),
            Decision((StepDown(),), "cooldown", NOW + SECOND),
            id="cooldown-and-stepped-down-a-second-ago",
        ),
        pytest.param(
            replace(
                ELECTED, cooldown_until=NOW + 300 * MS, cooldown_reason="cooldown: x"
            ),
            Decision((StepDown(),), "cooldown: x", NOW + 300 * MS),
            id="cooldown",
        ),
        pytest.param(
            replace(
                ELECTED, cooldown_until=NOW + 9 * SECOND, cooldown_reason="cooldown"
            ),
            Decision((StepDown(),), "cooldown", NOW + SECOND),
            id="cooldown-for-long",
        ),
        pytest.param(
            replace(
                ELECTED,
                cooldown_until=NOW + 9 * SECOND,
                cooldown_reason="cooldown",
                election_step_ended_at=NOW - 900 * MS,
            ),
            Decision((), "cooldown", NOW + SECOND),
            id="cooldown-and-stepped-down-a-moment-ago",
        ),
    ],
)
def test_an_elected_node_takes_a_free_lease(
    observation: Observation, expected: Decision
) -> None:
    """The election alone gives no right to serve: the lease must be free, and taken."""
    assert decide(observation, NOW) == expected


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(peer(B, ago=500), id="asked-before-the-lease-changed"),
        pytest.param(peer(B, serving_epoch=7), id="it-still-serves"),
        pytest.param(
            peer(B, acquire_pending=True), id="it-may-get-it-by-a-request-in-flight"
        ),
        pytest.param(None, id="it-is-no-peer-of-ours"),
    ],
)
def test_a_lease_is_waited_out_unless_its_holder_renounced(holder: Peer | None) -> None:
    """Only the holder's own word, given after the lease changed, saves the wait."""
    peers = (holder, peer(C)) if holder else (peer(C),)

    assert decide(replace(ELECTED, peers=peers), NOW) == Decision(
        (), "elected; the lease of 10.0.0.2 expires in 1.0 s", NOW + 1000 * MS
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"ports": Ports.CLOSED},
            Decision((OpenPorts(7),), "the lease was acknowledged (epoch 7)", NOW),
            id="acknowledged",
        ),
        pytest.param(
            {},
            Decision((), "serving under epoch 7", NOW + 150 * MS),
            id="until-the-renewal",
        ),
        pytest.param(
            {"ports": Ports.OPENING},
            Decision((), "serving under epoch 7", NOW + 150 * MS),
            id="opening",
        ),
        pytest.param(
            {"member": None},
            Decision((), "serving under epoch 7", NOW + 150 * MS),
            id="a-silent-database-may-only-be-slow",
        ),
        pytest.param(
            {"held_lease": replace(HOLD, renew_at=NOW)},
            Decision((RenewLease(LEASE, TTL),), "serving under epoch 7", HOLD.deadline),
            id="renewal",
        ),
        pytest.param(
            {"held_lease": replace(HOLD, renew_at=NOW), "lease_request_pending": True},
            Decision((), "serving under epoch 7", HOLD.deadline),
            id="renewal-in-flight",
        ),
        pytest.param(
            {
                "ports": Ports.FAILED,
                "port_failures": 1,
                "ports_failed_at": NOW - 60 * MS,
            },
            Decision((), "serving under epoch 7", NOW + 40 * MS),
            id="ports-failed-a-moment-ago",
        ),
        pytest.param(
            {
                "ports": Ports.FAILED,
                "port_failures": 1,
                "ports_failed_at": NOW - 100 * MS,
            },
            Decision((ClosePorts(),), "reopening the service ports", NOW),
            id="ports-failed-once",
        ),
        pytest.param(
            {
                "ports": Ports.FAILED,
                "port_failures": 99,
                "ports_failed_at": NOW - 10 * SECOND,
            },
            Decision((ClosePorts(),), "reopening the service ports", NOW),
            id="ports-failed-often",
        ),
        pytest.param(
            {"failed_servers": (FailedServer("defenders", 1, NOW - 60 * MS),)},
            Decision((), "serving under epoch 7, but closed: defenders", NOW + 40 * MS),
            id="one-server-failed-a-moment-ago",
        ),
        pytest.param(
            {
                "failed_servers": (
                    FailedServer("defenders", 1, NOW - 100 * MS),
                    FailedServer("management", 2, NOW, is_closed=False),
                )
            },
            Decision(
                (ReopenServers(),), "reopening the failed servers: defenders", NOW
            ),
            id="one-server-failed",
        ),
        pytest.param(
            {
                "failed_servers": (
                    FailedServer("defenders", 1, NOW - 100 * MS),
                    FailedServer("management", 1, NOW),
                )
            },
            Decision(
                (ReopenServers(),),
                "reopening the failed servers: defenders and management",
                NOW,
            ),
            id="both-servers-failed",
        ),
        pytest.param(
            {
                "failed_servers": (FailedServer("defenders", 1, NOW - SECOND),),
                "reopen_pending": True,
            },
            Decision(
                (), "serving under epoch 7, but closed: defenders", NOW + 150 * MS
            ),
            id="one-server-is-being-opened-again",
        ),
        pytest.param(
            {"ports": Ports.PAUSED, "port_failures": 1, "ports_failed_at": NOW},
            Decision((ClosePorts(),), "reopening the service ports", NOW),
            id="ports-paused",
        ),
    ],
)
def test_the_holder_serves_and_renews(
    changes: dict[str, object], expected: Decision
) -> None:
    """A holder opens its ports, renews in good time, and tries failed ports again."""
    assert decide(replace(SERVING, **changes), NOW) == expected


@pytest.mark.parametrize(
    ("failures", "wait_ms"),
    [(0, 50), (1, 100), (2, 200), (3, 400), (7, 6400), (8, 10_000), (99, 10_000)],
)
def test_ports_are_opened_again_after_a_wait_that_doubles(
    failures: int, wait_ms: int
) -> None:
    """From a twentieth of a second to ten seconds, for all ports and for each."""
    failed_at = NOW - wait_ms * MS
    all_failed = replace(
        SERVING,
        ports=Ports.FAILED,
        port_failures=failures,
        ports_failed_at=failed_at,
    )
    one_failed = replace(
        SERVING, failed_servers=(FailedServer("defenders", failures, failed_at),)
    )

    assert decide(all_failed, NOW).actions == (ClosePorts(),)
    assert decide(all_failed, NOW - 1).actions == ()
    assert decide(one_failed, NOW).actions == (ReopenServers(),)
    assert decide(one_failed, NOW - 1).actions == ()


@pytest.mark.parametrize(
    ("changes", "reason", "leaves"),
    [
        pytest.param(
            {"held_lease": replace(HOLD, deadline=NOW)},
            "the lease was not renewed in time",
            True,
            id="deadline",
        ),
        pytest.param(
            {"held_lease": replace(HOLD, deadline=NOW), "member": None},
            "the lease was not renewed in time",
            True,
            id="deadline-with-a-silent-database",
        ),
        pytest.param(
            {"held_lease": replace(HOLD, deadline=NOW), "peers": ()},
            "the lease was not renewed in time",
            False,
            id="nobody-to-make-way-for",
        ),
        pytest.param(
            {"held_lease": replace(HOLD, deadline=NOW), "election_step_pending": True},
            "the lease was not renewed in time",
            False,
            id="makes-way-already",
        ),
        pytest.param(
            {"member": DEAD_MEMBER}, "the local database ended", False, id="dead"
        ),
        pytest.param(
            {"member": SECONDARY},
            "the local database is SECONDARY now",
            False,
            id="stepped-down",
        ),
        pytest.param(
            {"member": Member("ROLLBACK", writable=False), "switchover_request": ASKED},
            "the local database is ROLLBACK now",
            False,
            id="loss-goes-before-a-handover",
        ),
    ],
)
def test_a_lost_lease_closes_the_ports_at_once(
    changes: dict[str, object], reason: str, *, leaves: bool
) -> None:
    """It drops the lease first, closes without draining, and then makes way."""
    way = (StepDown(),) if leaves else ()

    assert decide(replace(SERVING, **changes), NOW) == Decision(
        (RenounceLease(), ClosePorts(), *way), reason, NOW
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {}, Decision((ClosePorts(drain=True),), "asked by admin", NOW), id="open"
        ),
        pytest.param(
            {"ports": Ports.FAILED},
            Decision((ClosePorts(),), "asked by admin", NOW),
            id="failed-ports",
        ),
        pytest.param(
            {"ports": Ports.PAUSED},
            Decision((ClosePorts(),), "asked by admin", NOW),
            id="paused-ports",
        ),
        pytest.param(
            {"ports": Ports.CLOSING},
            Decision((), "asked by admin", NOW + 150 * MS),
            id="closing",
        ),
        pytest.param(
            {"ports": Ports.OPENING, "held_lease": replace(HOLD, renew_at=NOW)},
            Decision((RenewLease(LEASE, TTL),), "asked by admin", HOLD.deadline),
            id="opening",
        ),
        pytest.param(
            {"ports": Ports.CLOSED},
            Decision((RenounceLease(), TransferRole(LEASE, B)), "asked by admin", NOW),
            id="to-the-best",
        ),
        pytest.param(
            {
                "ports": Ports.CLOSED,
                "switchover_request": SwitchoverRequest(C, "drill"),
            },
            Decision((RenounceLease(), TransferRole(LEASE, C)), "drill", NOW),
            id="to-the-one-named",
        ),
        pytest.param(
            {"ports": Ports.CLOSED, "peers": ()},
            Decision((RenounceLease(), ReleaseLease(LEASE)), "asked by admin", NOW),
            id="to-nobody",
        ),
    ],
)
def test_a_handover_closes_then_releases_then_steps_down(
    changes: dict[str, object], expected: Decision
) -> None:
    """Requests in flight end first; no port is open once the lease is available."""
    observation = replace(replace(SERVING, switchover_request=ASKED), **changes)

    assert decide(observation, NOW) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(None, LEASE, id="never-read"),
        pytest.param(LEASE, LEASE, id="as-acknowledged"),
        pytest.param(
            LEASE.renewed(TTL), LEASE.renewed(TTL), id="stored-without-an-answer"
        ),
        pytest.param(replace(LEASE, seq=39), LEASE, id="read-before"),
        pytest.param(replace(LEASE, epoch=8, seq=41), LEASE, id="another-epoch"),
        pytest.param(LEASE_OF_B.renewed(TTL), LEASE, id="another-holder"),
    ],
)
def test_a_renewal_goes_on_from_what_is_stored(
    found: LeaseDocument | None, expected: LeaseDocument
) -> None:
    """A renewal whose answer was lost may have been stored; the next builds on it."""
    seen_last = ObservedLease(found, NOW) if found else None
    held = replace(HOLD, renew_at=NOW)

    decision = decide(replace(SERVING, held_lease=held, observed_lease=seen_last), NOW)

    assert decision.actions == (RenewLease(expected, TTL),)


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        pytest.param(
            observe(peer(B, writable=True, state="PRIMARY"), member=SECONDARY),
            Decision((), f"{B} is primary", BEAT),
            id="there-is-a-primary",
        ),
        pytest.param(
            observe(peer(B, refused=True, lost_at=NOW - SECOND), member=SECONDARY),
            Decision(
                (StepUp(),),
                f"{B} is silent: standing for election",
                NOW + SECOND,
            ),
            id="the-primary-is-lost",
        ),
    ],
)
def test_a_standby_stands_when_the_primary_is_lost(
    observation: Observation, expected: Decision
) -> None:
    """The vote is MongoDB's; this only asks for it."""
    assert decide(observation, NOW) == expected
