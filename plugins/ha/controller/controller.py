"""Control the role of this node: observe, decide, act, and record each change.

Events (an answer to hello, a heartbeat, an answer about the lease) arrive in an inbox,
each as a function from one observation to the next. One thread applies them, so no lock
is needed and nothing else changes the role. Nothing blocks that thread.
"""

import logging
import queue
import threading

from plugins.ha.consensus import transitions
from plugins.ha.consensus.decision import Decision, decide
from plugins.ha.consensus.state import (
    Action,
    Observation,
    Ports,
    StepDown,
    StepUp,
    Update,
)
from plugins.ha.controller.executor import ActionExecutor
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.system.processes import abort_process
from twistlock_console.system.serving_permit import FOREVER, Permit

log = logging.getLogger(__name__)


class ControlLoop:
    """Keeps the service ports open exactly while this node holds the lease.

    It runs in a thread of its own; all methods may be called from any thread.
    """

    def __init__(
        self,
        observation: Observation,
        executor: ActionExecutor,
        permit: Permit,
        recorder: "RoleRecorder",
    ) -> None:
        self._observation = observation
        self._executor = executor
        self._permit = permit
        self._recorder = recorder
        self._inbox: queue.SimpleQueue[Update | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name="control-loop", daemon=True
        )
        self._reason = "starting"

    @property
    def observation(self) -> Observation:
        """Return what the node knows now, as an immutable value."""
        return self._observation

    @property
    def reason(self) -> str:
        """Return the reason of the last decision: why this node serves, or does not."""
        return self._reason

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, update: Update) -> None:
        """Queue *update*; the loop applies it to its observation."""
        self._inbox.put(update)

    def request_switchover(self, target: str | None, reason: str) -> None:
        """Start a switchover to *target*, or to the best standby if it is None."""
        self.submit(
            lambda observation: transitions.request_switchover(
                observation, target, reason
            )
        )

    def resign_for_good(self) -> None:
        """Give up the role, and never acquire it again in this process."""
        reason = "this node is being stopped"
        self.submit(
            lambda observation: transitions.enter_cooldown(observation, FOREVER, reason)
        )
        self.request_switchover(None, reason)

    def stop(self) -> None:
        """Stop the thread; the caller closes the ports."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self._loop()
        except Exception:
            abort_process("unexpected error in the control loop")

    def _loop(self) -> None:
        while True:
            decision = decide(self._observation, boottime_ns())
            self._reason = decision.reason
            for action in decision.actions:
                self._start_action(action, decision.reason)
            try:
                update = self._next_update(decision)
            except queue.Empty:
                continue
            if update is None:
                return
            self._apply(update(self._observation), decision.reason)

    def _next_update(self, decision: Decision) -> Update | None:
        if decision.actions:
            return self._inbox.get_nowait()
        wait = (decision.wake_at - boottime_ns()) / SECOND
        return self._inbox.get(timeout=max(wait, 0.001))

    def _start_action(self, action: Action, reason: str) -> None:
        started = transitions.action_started(
            self._observation, action, reason, boottime_ns()
        )
        self._apply(started, reason)
        steps = isinstance(action, StepUp | StepDown)
        log.log(logging.INFO if steps else logging.DEBUG, "%s: %s", reason, action)
        self._executor.execute(action, self.submit)

    def _apply(self, observation: Observation, reason: str) -> None:
        before, self._observation = self._observation, observation
        if observation.held_lease is None:
            self._permit.revoke()
        elif observation.held_lease is not before.held_lease:
            self._permit.grant(
                observation.held_lease.document.epoch, observation.held_lease.deadline
            )
        self._recorder.update(before, observation, reason, boottime_ns())


class RoleRecorder:
    """Detects each change of the role, times its phases, and publishes RoleChanged.

    A node serves from the moment its ports are open under the lease until they start to
    close: what users see. Only the thread of the control loop uses it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._role = Role.STANDBY
        self._cause = "this node started"
        self._phase_times: dict[str, int] = {}
        self._recorded_epoch = 0

    @property
    def role(self) -> Role:
        """Return the role that this node has for its users."""
        return self._role

    def update(
        self, before: Observation, observation: Observation, reason: str, now: int
    ) -> None:
        """Record the transition from *before* to *observation*, made for *reason*."""
        self._record_phases(before, observation, reason, now)
        role = _role_of(observation)
        if role is not self._role:
            self._publish(role, observation, reason)
        elif (
            before.held_lease
            and not observation.held_lease
            and self._recorded_epoch < observation.last_renounced_epoch
        ):
            # It held the lease and never opened its ports: that is recorded too.
            self._publish(
                role, observation, f"gave up before its ports were open: {reason}"
            )

    def _record_phases(
        self, before: Observation, observation: Observation, reason: str, now: int
    ) -> None:
        if _known_primary(observation) not in (
            None,
            observation.self_address,
            _known_primary(before),
        ):
            # Another member won: discard the phases of our failed attempt.
            self._phase_times = {}
        if (
            observation.election_step_pending
            and not before.election_step_pending
            and not _is_writable(observation)
        ):
            self._cause = reason
            self._phase_times = _initial_phase_times(observation, now)
        self._record_election(before, observation, now)
        if observation.held_lease and not before.held_lease:
            self._phase_times["lease"] = now
        if observation.ports is Ports.OPEN and before.ports is not Ports.OPEN:
            self._phase_times["ports"] = now

    def _record_election(
        self, before: Observation, observation: Observation, now: int
    ) -> None:
        if _is_elected(observation) and not _is_elected(before):
            if "noticed" not in self._phase_times:
                self._cause = "MongoDB elected this member"
                self._phase_times = _initial_phase_times(observation, now)
            self._phase_times.setdefault("elected", now)
        if _is_writable(observation) and not _is_writable(before):
            self._phase_times["writable"] = now

    def _publish(self, role: Role, observation: Observation, reason: str) -> None:
        cause = self._reason_of_change(role, observation, reason)
        epoch = (
            observation.held_lease.document.epoch
            if observation.held_lease
            else observation.last_renounced_epoch
        )
        phases = _phase_durations(self._phase_times) if role is Role.PRIMARY else {}
        log.info(
            "%s -> %s (epoch %d): %s%s",
            self._role,
            role,
            epoch,
            cause,
            _format_phases(phases),
        )
        change = RoleChanged(self._role, role, cause, epoch, phases)
        self._role = role
        self._recorded_epoch = epoch
        self._phase_times = {}
        self._bus.publish(change)

    def _reason_of_change(
        self, role: Role, observation: Observation, reason: str
    ) -> str:
        """Return why the role changed; ports may also reopen under the same lease."""
        if role is Role.PRIMARY:
            return self._cause
        if observation.held_lease is not None and observation.ports is Ports.PAUSED:
            self._cause = f"the service ports opened again: {observation.pause_reason}"
            return observation.pause_reason
        if observation.held_lease is not None and observation.ports is Ports.FAILED:
            self._cause = "the service ports opened again"
            return "a service port failed"
        return reason


def _role_of(observation: Observation) -> Role:
    serving = observation.held_lease is not None and observation.ports is Ports.OPEN
    return Role.PRIMARY if serving else Role.STANDBY


def _known_primary(observation: Observation) -> str | None:
    """Return the address of the primary that our member follows, if any."""
    return observation.member.primary if observation.member else None


def _is_writable(observation: Observation) -> bool:
    return observation.member is not None and observation.member.writable


def _is_elected(observation: Observation) -> bool:
    """Return whether our member was elected; it may still be applying its oplog."""
    return (
        _is_writable(observation)
        or _known_primary(observation) == observation.self_address
    )


def _initial_phase_times(observation: Observation, now: int) -> dict[str, int]:
    """Return the first phases: the former holder's last good answer, and now."""
    if (
        observation.observed_lease is None
        or observation.observed_lease.document.holder in ("", observation.self_address)
    ):
        return {"noticed": now}
    holder = observation.peer(observation.observed_lease.document.holder)
    answered = max(
        observation.observed_lease.changed_at,
        holder.primary_claimed_at if holder else 0,
    )
    return {"answered": min(answered, now), "noticed": now}


def _phase_durations(phase_times: dict[str, int]) -> dict[str, float]:
    """Return the seconds that each phase took, in the order they ended.

    The first one starts with the former holder's last good answer, if there was one.
    """
    ordered = list(phase_times.items())
    return {
        name: round((at - ordered[place][1]) / SECOND, 4)
        for place, (name, at) in enumerate(ordered[1:])
    }


def _format_phases(phases: dict[str, float]) -> str:
    return "".join(
        f"; {name} after {seconds:.3f} s" for name, seconds in phases.items()
    )
