"""The deadline of a transfer that has to keep up a rate.

Pure. A total deadline would cut large downloads over honest but slow lines, and a
deadline for each piece lets a client hold a connection for ever, a byte at a time.
"""


class MinimumRate:
    """A transfer that may fall behind *bytes_per_s* by *patience_s* seconds.

    Times are seconds of any one clock.
    """

    def __init__(self, bytes_per_s: float, patience_s: float, now: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._patience_s = patience_s
        self.deadline = now + patience_s

    def advance(self, size: int, now: float) -> None:
        """Move the deadline, since *size* bytes more were transferred."""
        earned = self.deadline + size / self._bytes_per_s
        # What was quick earns no more than the patience there was at first.
        self.deadline = min(earned, now + self._patience_s)

    def restart(self, now: float) -> None:
        """Begin again: there was nothing to transfer until now."""
        self.deadline = now + self._patience_s
