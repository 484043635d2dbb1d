"""Rules of `RoleRecorder`: when a node serves, and what RoleChanged contains."""

from dataclasses import replace
from itertools import pairwise

from plugins.ha.consensus.lease import NEVER_HELD, ObservedLease
from plugins.ha.consensus.state import DEAD_MEMBER, Observation, Ports
from plugins.ha.controller.controller import RoleRecorder
from tests.ha.observations import MS, NOW, PRIMARY, THIRD, candidate, holder, standby
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import Role, RoleChanged

LOST = "10.0.0.2 is silent: standing for election"
STANDING = standby(election_step_pending=True)
SERVING = holder(ports=Ports.OPEN)
BROKEN = replace(SERVING, ports=Ports.FAILED)
ENDED = candidate(last_renounced_epoch=7, ports=Ports.CLOSING)


class Record:
    """A recorder with what it published; each step comes 100 ms after the last."""

    def __init__(self) -> None:
        bus = Bus()
        self.changes: list[RoleChanged] = []
        bus.subscribe(RoleChanged, self.changes.append)
        self.recorder = RoleRecorder(bus)

    def update(self, *steps: Observation, reason: str = "why") -> None:
        """Go from the first of *steps* to the last."""
        for place, (before, observation) in enumerate(pairwise(steps)):
            self.recorder.update(before, observation, reason, NOW + place * 100 * MS)


def test_serving_starts_with_open_ports_and_records_each_phase() -> None:
    """The phases start with the last good answer of the former primary, 100 ms ago."""
    record = Record()
    elected = candidate(member=replace(PRIMARY, writable=False))

    record.update(
        standby(), STANDING, elected, candidate(), holder(), SERVING, reason=LOST
    )

    phases = {
        "noticed": 0.1,
        "elected": 0.1,
        "writable": 0.1,
        "lease": 0.1,
        "ports": 0.1,
    }
    assert record.changes == [RoleChanged(Role.STANDBY, Role.PRIMARY, LOST, 7, phases)]
    assert record.recorder.role is Role.PRIMARY


def test_an_election_by_mongodb_itself_is_recorded_as_such() -> None:
    """MongoDB may elect this member by itself; noticing takes no time then."""
    record = Record()

    record.update(standby(), candidate(), holder(), SERVING)

    phases = {"noticed": 0.1, "elected": 0.0, "writable": 0.0}
    cause = "MongoDB elected this member"
    change = record.changes[0]
    assert change.reason == cause
    assert change.phases == {**phases, "lease": 0.1, "ports": 0.1}


def test_the_first_primary_of_all_has_no_failure_to_notice() -> None:
    """The lease was never held before."""
    record = Record()
    first = replace(candidate(), observed_lease=ObservedLease(NEVER_HELD, NOW))

    record.update(replace(first, member=None), first, holder(), SERVING)

    assert list(record.changes[0].phases) == ["elected", "writable", "lease", "ports"]


def test_an_attempt_that_another_won_is_forgotten() -> None:
    """The next election is not timed from an earlier attempt."""
    record = Record()
    other_won = standby(member=replace(PRIMARY, writable=False, primary=THIRD))

    record.update(standby(), STANDING, other_won, candidate(), holder(), SERVING)

    assert record.changes[0].reason == "MongoDB elected this member"


def test_stepping_down_is_not_the_beginning_of_an_attempt() -> None:
    """Only a member that is not writable stands for election."""
    record = Record()

    record.update(candidate(), candidate(election_step_pending=True), holder(), SERVING)

    assert record.changes[0].reason == "this node started"


def test_serving_ends_when_the_lease_is_renounced() -> None:
    """The end is recorded with the decision's reason and the epoch that ended."""
    record = Record()
    record.update(holder(), SERVING)

    record.update(SERVING, ENDED, reason="the local database ended")

    change = RoleChanged(Role.PRIMARY, Role.STANDBY, "the local database ended", 7, {})
    assert record.changes[1:] == [change]


def test_ports_that_fail_under_a_lease_are_recorded_as_such() -> None:
    """Users see it as the end of a recorder, and the ports opening as a new one."""
    record = Record()
    record.update(holder(), SERVING)

    record.update(SERVING, BROKEN, holder(), SERVING, reason="serving under epoch 7")

    recorded = [
        (change.new, change.reason, change.epoch) for change in record.changes[1:]
    ]
    assert recorded == [
        (Role.STANDBY, "a service port failed", 7),
        (Role.PRIMARY, "the service ports opened again", 7),
    ]


def test_ports_that_are_closed_for_a_moment_say_what_for() -> None:
    """The reason of a restore is recorded on both sides of the pause."""
    record = Record()
    record.update(holder(), SERVING)
    paused = replace(
        SERVING, ports=Ports.PAUSED, pause_reason="the backup x is put in force"
    )

    record.update(SERVING, paused, holder(), SERVING, reason="serving under epoch 7")

    recorded = [
        (change.new, change.reason, change.epoch) for change in record.changes[1:]
    ]
    again = "the service ports opened again: the backup x is put in force"
    assert recorded == [
        (Role.STANDBY, "the backup x is put in force", 7),
        (Role.PRIMARY, again, 7),
    ]


def test_a_lease_lost_before_the_ports_were_open_is_on_record() -> None:
    """An epoch without open ports is recorded once all the same."""
    record = Record()

    record.update(standby(), holder(), replace(ENDED, ports=Ports.CLOSED))

    reason = "gave up before its ports were open: why"
    assert record.changes == [RoleChanged(Role.STANDBY, Role.STANDBY, reason, 7, {})]


def test_the_end_of_serving_is_recorded_once() -> None:
    """Dropping the lease after the ports had failed is no second end."""
    record = Record()
    record.update(holder(), SERVING, BROKEN)

    record.update(BROKEN, ENDED)

    assert [change.new for change in record.changes] == [Role.PRIMARY, Role.STANDBY]


def test_without_a_change_of_role_nothing_is_recorded() -> None:
    """A standby whose database comes and goes stays a standby."""
    record = Record()

    record.update(standby(), standby(member=None), standby(member=DEAD_MEMBER))

    assert record.changes == []
