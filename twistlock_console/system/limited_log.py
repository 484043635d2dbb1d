"""Log lines about closed connections, bounded: a flood must not fill the disk."""

import logging

INTERVAL_S = 60.0
MAX_SUBJECTS = 1000
log = logging.getLogger(__name__)


class LimitedLog:
    """Writes a line for each subject at most once a minute, and counts the others."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int]] = {}

    def write(self, subject: str, sentence: str, now: float) -> None:
        """Log *sentence* about *subject*, unless that was done a moment ago."""
        since, omitted = self._written.get(subject, (now - INTERVAL_S, 0))
        if now - since < INTERVAL_S:
            self._written[subject] = (since, omitted + 1)
            return
        if len(self._written) >= MAX_SUBJECTS:
            self._written.clear()
        self._written[subject] = (now, 0)
        more = (
            f" (and {omitted} more times since the last such line)" if omitted else ""
        )
        log.warning("%s %s%s", subject, sentence, more)
