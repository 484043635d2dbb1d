"""The role keeper: looks, asks `decide`, and has it done; nothing here blocks.

What is learned (a hello, a heartbeat, an answer about the lease) arrives in the
inbox as a function from one observation to the next. This thread alone applies
them, so there is no lock, and nobody else changes the role.
"""

import logging
import queue
import threading

from plugins.ha.consensus import actions as do
from plugins.ha.consensus import transitions
from plugins.ha.consensus.decision import Decision, decide
from plugins.ha.consensus.observation import Observation, Update
from plugins.ha.controller.executor import Performer
from plugins.ha.controller.role_recorder import Tenure
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.system.child_processes import give_up
from twistlock_console.system.serving_permit import FOREVER, Permit

log = logging.getLogger(__name__)


class Keeper:
    """Keeps this node's ports in step with its lease, from a thread of its own."""

    def __init__(
        self,
        seen: Observation,
        performer: Performer,
        permit: Permit,
        tenure: Tenure,
    ) -> None:
        self._seen = seen
        self._performer = performer
        self._permit = permit
        self._tenure = tenure
        self._inbox: queue.SimpleQueue[Update | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._reason = "starting"

    @property
    def seen(self) -> Observation:
        """What the node knows now: a value, safe to read from any thread."""
        return self._seen

    @property
    def reason(self) -> str:
        """Why this node serves, or does not, as the last decision put it."""
        return self._reason

    def start(self) -> None:
        """Begin to look, decide and act."""
        self._thread.start()

    def post(self, update: Update) -> None:
        """Have the loop replace its observation by *update* of it."""
        self._inbox.put(update)

    def hand_over(self, target: str | None, reason: str) -> None:
        """Give the role to *target*, or to the best standby."""
        self.post(lambda seen: transitions.leaving(seen, target, reason))

    def retire(self) -> None:
        """Give up the role, and never stand for it again in this process."""
        reason = "this node is being stopped"
        self.post(lambda seen: transitions.resting(seen, FOREVER, reason))
        self.hand_over(None, reason)

    def stop(self) -> None:
        """End the loop; the ports are the caller's to close."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            self._keep()
        except Exception:
            give_up("the role keeper ended in an error nobody foresaw")

    def _keep(self) -> None:
        while True:
            decision = decide(self._seen, boottime_ns())
            self._reason = decision.reason
            for action in decision.actions:
                self._begin(action, decision.reason)
            try:
                update = self._next(decision)
            except queue.Empty:
                continue
            if update is None:
                return
            self._change(update(self._seen), decision.reason)

    def _next(self, decision: Decision) -> Update | None:
        if decision.actions:
            return self._inbox.get_nowait()
        wait = (decision.wake_at - boottime_ns()) / SECOND
        return self._inbox.get(timeout=max(wait, 0.001))

    def _begin(self, action: do.Action, reason: str) -> None:
        begun = transitions.begun(self._seen, action, reason, boottime_ns())
        self._change(begun, reason)
        steps = isinstance(action, do.StepUp | do.StepDown)
        log.log(logging.INFO if steps else logging.DEBUG, "%s: %s", reason, action)
        self._performer.perform(action, self.post)

    def _change(self, seen: Observation, reason: str) -> None:
        before, self._seen = self._seen, seen
        if seen.hold is None:
            self._permit.revoke()
        elif seen.hold is not before.hold:
            self._permit.grant(seen.hold.document.epoch, seen.hold.deadline)
        self._tenure.follow(before, seen, reason, boottime_ns())
