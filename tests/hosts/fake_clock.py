"""A wall clock of a host's own, which can be stepped while its programs run.

Only the wall clock: libfaketime is told to leave the monotonic and the boot-time
clock alone, as a real step leaves them.
"""

from pathlib import Path

FOLDERS = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/faketime")
LIBRARY = "libfaketimeMT.so.1"
# libfaketime looks at the file again that often; without a cache mongod gets stuck.
SECONDS_TO_NOTICE = 2.5


def find_library() -> Path | None:
    """Where libfaketime is; None when it is not installed."""
    places = [Path(folder) / LIBRARY for folder in FOLDERS]
    return next((place for place in places if place.exists()), None)


class FakeClock:
    """The clock of the programs that are started with *environ*; right at first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0")

    def set(self, how: str) -> None:
        """Make it run "+3600" or "-60" seconds off; "+0 x1.1" makes it drift."""
        self._file.write_text(f"{how}\n")

    @property
    def environ(self) -> dict[str, str]:
        """What such a program finds in its environment."""
        return {
            "LD_PRELOAD": str(find_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its fix for waits on the monotonic clock makes mongod spin.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "PYTHONPATH": str(Path(__file__).parent / "faked"),
        }
