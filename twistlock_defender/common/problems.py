"""What the Defender cannot do now: in the log, in its status and to the Console."""

import logging
import threading
from collections.abc import Callable, Sequence

from twistlock_console.protocol import Event
from twistlock_defender.common.clock import boottime
from twistlock_defender.common.findings import LONGEST_SENTENCE, printable, trouble

TOLD_AGAIN_SECONDS = 3600.0
log = logging.getLogger(__name__)

Report = Callable[[Sequence[Event]], None]


class Troubles:
    """One sentence a topic, from any thread.

    Each is reported once, and again only when it comes back after an hour: a trouble
    that comes and goes must not fill the outbox. Nor must one whose sentence is another
    each time: such are told as *alike*, and as one sentence count all that are.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._standing: dict[str, str] = {}
        self._told: dict[str, float] = {}

    def tell(
        self, topic: str, sentence: str, rule: str = "", *, alike: str = ""
    ) -> None:
        """Say that *sentence* is so, until it is cleared."""
        now, sentence = boottime(), printable(sentence, LONGEST_SENTENCE)
        with self._lock:
            if self._standing.get(topic) == sentence:
                return
            self._standing[topic] = sentence
            anew = self._is_new(alike or sentence, now)
        log.error("%s", sentence)
        if anew:
            self._report([trouble(sentence, rule)])

    def clear(self, topic: str) -> None:
        """Say that *topic* is no trouble any more."""
        with self._lock:
            sentence = self._standing.pop(topic, None)
        if sentence:
            log.info("no more: %s", sentence)

    def note(self, topic: str, sentence: str | None) -> None:
        """Say that *sentence* is so, or that nothing is amiss with *topic*."""
        if sentence:
            self.tell(topic, sentence)
        else:
            self.clear(topic)

    def standing(self) -> list[str]:
        """All sentences that are so now."""
        with self._lock:
            return list(self._standing.values())

    def _is_new(self, told: str, now: float) -> bool:
        """Whether *told* was not within the last hour; it is from now on."""
        recent = {
            each: then
            for each, then in self._told.items()
            if now - then <= TOLD_AGAIN_SECONDS
        }
        self._told = recent | {told: now}
        return told not in recent
