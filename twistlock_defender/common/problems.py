"""Track problems of the Defender: log them, show them, and report them as events."""

import logging
import threading
from collections.abc import Callable, Sequence

from twistlock_console.protocol import UNNUMBERED, Event, TroubleEvent
from twistlock_defender.common.clock import boottime, utc_now

REPEAT_INTERVAL_S = 3600.0
MAX_SENTENCE_CHARACTERS = 1024
log = logging.getLogger(__name__)

Report = Callable[[Sequence[Event]], None]


class Problems:
    """Holds the present problems, one sentence per topic. Any thread may use it.

    Each sentence is reported once, and again only if it returns after
    REPEAT_INTERVAL_S (throttle): an intermittent problem must not fill the outbox.
    Problems with varying sentences are added as *alike* and count as one sentence.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._current: dict[str, str] = {}
        self._reported: dict[str, float] = {}

    def add(
        self, topic: str, sentence: str, rule: str = "", *, alike: str = ""
    ) -> None:
        """Set the problem of *topic* until it is cleared; report it if it is new.

        *rule* is the name of the affected rule; *alike* replaces *sentence* in the
        comparison with earlier reports.
        """
        # Errors quote what is in damaged files.
        plain = "".join(c if c.isprintable() else "?" for c in sentence)
        now, sentence = boottime(), printable(plain, MAX_SENTENCE_CHARACTERS)
        with self._lock:
            if self._current.get(topic) == sentence:
                return
            self._current[topic] = sentence
            is_new = self._is_new(alike or sentence, now)
        log.error("%s", sentence)
        if is_new:
            self._report([TroubleEvent(UNNUMBERED, utc_now(), sentence, rule)])

    def clear(self, topic: str) -> None:
        """Clear the problem of *topic*."""
        with self._lock:
            sentence = self._current.pop(topic, None)
        if sentence:
            log.info("solved: %s", sentence)

    def update(self, topic: str, sentence: str | None) -> None:
        """Set the problem of *topic* to *sentence*, or clear it if that is None."""
        if sentence:
            self.add(topic, sentence)
        else:
            self.clear(topic)

    def current(self) -> list[str]:
        """Return the sentences of all present problems."""
        with self._lock:
            return list(self._current.values())

    def _is_new(self, reported: str, now: float) -> bool:
        """Record *reported*; return whether it is new within REPEAT_INTERVAL_S."""
        recent = {
            each: then
            for each, then in self._reported.items()
            if now - then <= REPEAT_INTERVAL_S
        }
        self._reported = recent | {reported: now}
        return reported not in recent


def printable(text: str, max_characters: int) -> str:
    """Return *text* as valid Unicode, truncated to *max_characters*."""
    whole = text.encode(errors="surrogateescape").decode(errors="replace")
    return whole if len(whole) <= max_characters else whole[: max_characters - 1] + "…"
