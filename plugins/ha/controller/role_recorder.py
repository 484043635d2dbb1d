"""Notes each change of role: when each phase ended, and the one line that tells.

A tenure begins when the ports are open under the lease, and ends when they begin
to close; that is when users see it.
"""

import logging

from plugins.ha.consensus.observation import Observation, Ports
from twistlock_console.common.clock import SECOND
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import Role, RoleChanged

log = logging.getLogger(__name__)


class Tenure:
    """Follows the observation and publishes RoleChanged; only the keeper calls it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._role = Role.STANDBY
        self._cause = "this node started"
        self._marks: dict[str, int] = {}
        self._served = 0

    @property
    def role(self) -> Role:
        """The role this node has for its users."""
        return self._role

    def follow(
        self, before: Observation, seen: Observation, reason: str, now: int
    ) -> None:
        """Take note of the step from *before* to *seen*, made for *reason*."""
        self._mark(before, seen, reason, now)
        role = _role_of(seen)
        if role is not self._role:
            self._publish(role, seen, reason)
        elif before.hold and not seen.hold and self._served < seen.renounced:
            # It held the lease and never got its ports open: that is on record too.
            self._publish(role, seen, f"gave up before its ports were open: {reason}")

    def _mark(
        self, before: Observation, seen: Observation, reason: str, now: int
    ) -> None:
        if _followed(seen) not in (None, seen.me, _followed(before)):
            # Another was elected: an attempt of ours that came to nothing is over.
            self._marks = {}
        if seen.stepping and not before.stepping and not _writable(seen):
            self._cause = reason
            self._marks = _noticed(seen, now)
        self._mark_election(before, seen, now)
        if seen.hold and not before.hold:
            self._marks["lease"] = now
        if seen.ports is Ports.OPEN and before.ports is not Ports.OPEN:
            self._marks["ports"] = now

    def _mark_election(self, before: Observation, seen: Observation, now: int) -> None:
        if _elected(seen) and not _elected(before):
            if "noticed" not in self._marks:
                self._cause = "MongoDB elected this member"
                self._marks = _noticed(seen, now)
            self._marks.setdefault("elected", now)
        if _writable(seen) and not _writable(before):
            self._marks["writable"] = now

    def _publish(self, role: Role, seen: Observation, reason: str) -> None:
        why = self._why(role, seen, reason)
        epoch = seen.hold.document.epoch if seen.hold else seen.renounced
        phases = _phases(self._marks) if role is Role.PRIMARY else {}
        log.info(
            "%s -> %s (epoch %d): %s%s", self._role, role, epoch, why, _told(phases)
        )
        change = RoleChanged(self._role, role, why, epoch, phases)
        self._role = role
        self._served = epoch
        self._marks = {}
        self._bus.publish(change)

    def _why(self, role: Role, seen: Observation, reason: str) -> str:
        """Why the role changed; ports may close and open again under one lease."""
        if role is Role.PRIMARY:
            return self._cause
        if seen.hold is not None and seen.ports is Ports.PAUSED:
            self._cause = f"the service ports opened again: {seen.pause}"
            return seen.pause
        if seen.hold is not None and seen.ports is Ports.FAILED:
            self._cause = "the service ports opened again"
            return "a service port failed"
        return reason


def _role_of(seen: Observation) -> Role:
    serving = seen.hold is not None and seen.ports is Ports.OPEN
    return Role.PRIMARY if serving else Role.STANDBY


def _followed(seen: Observation) -> str | None:
    """The primary that our member follows, if it knows one."""
    return seen.member.primary if seen.member else None


def _writable(seen: Observation) -> bool:
    return seen.member is not None and seen.member.writable


def _elected(seen: Observation) -> bool:
    """Our member names itself: it may still have to apply what it has fetched."""
    return _writable(seen) or _followed(seen) == seen.me


def _noticed(seen: Observation, now: int) -> dict[str, int]:
    """The marks of a beginning: the former holder's last good answer, and now."""
    if seen.sighting is None or seen.sighting.document.holder in ("", seen.me):
        return {"noticed": now}
    holder = seen.peer(seen.sighting.document.holder)
    answered = max(seen.sighting.changed_at, holder.claimed_at if holder else 0)
    return {"answered": min(answered, now), "noticed": now}


def _phases(marks: dict[str, int]) -> dict[str, float]:
    """Seconds each phase took, in the order they ended.

    They begin with the former holder's last good answer, where there was one.
    """
    ordered = list(marks.items())
    return {
        name: round((at - ordered[place][1]) / SECOND, 4)
        for place, (name, at) in enumerate(ordered[1:])
    }


def _told(phases: dict[str, float]) -> str:
    return "".join(
        f"; {name} after {seconds:.3f} s" for name, seconds in phases.items()
    )
