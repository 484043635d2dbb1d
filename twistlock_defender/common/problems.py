"""Problems that limit what the Defender can do: logged, shown, and sent as findings."""

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
    """Holds one sentence a topic; any thread may use it.

    Each is reported once, and again only when it comes back after an hour: a problem
    that comes and goes must not fill the outbox. Nor must one whose sentence is another
    each time: such are added as *alike*, and count as one sentence.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._current: dict[str, str] = {}
        self._reported: dict[str, float] = {}

    def add(
        self, topic: str, sentence: str, rule: str = "", *, alike: str = ""
    ) -> None:
        """Note that *sentence* holds for *topic* until it is cleared."""
        now, sentence = boottime(), printable(sentence, MAX_SENTENCE_CHARACTERS)
        with self._lock:
            if self._current.get(topic) == sentence:
                return
            self._current[topic] = sentence
            is_new = self._is_new(alike or sentence, now)
        log.error("%s", sentence)
        if is_new:
            self._report([TroubleEvent(UNNUMBERED, utc_now(), sentence, rule)])

    def clear(self, topic: str) -> None:
        """Note that *topic* has no problem any more."""
        with self._lock:
            sentence = self._current.pop(topic, None)
        if sentence:
            log.info("no more: %s", sentence)

    def update(self, topic: str, sentence: str | None) -> None:
        """Add *sentence*, or clear *topic* if it is None."""
        if sentence:
            self.add(topic, sentence)
        else:
            self.clear(topic)

    def current(self) -> list[str]:
        """Return all sentences that hold now."""
        with self._lock:
            return list(self._current.values())

    def _is_new(self, reported: str, now: float) -> bool:
        """Return whether it was not *reported* within the last hour, and note that."""
        recent = {
            each: then
            for each, then in self._reported.items()
            if now - then <= REPEAT_INTERVAL_S
        }
        self._reported = recent | {reported: now}
        return reported not in recent


def printable(text: str, max_characters: int) -> str:
    """Return *text* as the protocol takes it: valid Unicode, *most* characters."""
    whole = text.encode(errors="surrogateescape").decode(errors="replace")
    return whole if len(whole) <= max_characters else whole[: max_characters - 1] + "…"
