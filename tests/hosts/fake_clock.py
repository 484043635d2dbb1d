"""A wall clock for a program alone, which can be stepped while it runs.

Only the wall clock: libfaketime is told to leave the monotonic and the boot-time
clock alone, as a real step leaves them. It suits mongod, and Python only in part:
`time.sleep` fails under it (0.9.10), and timers of the boot-time clock, our servers'
fence, are set off by as much as the wall clock. So on a test host mongod alone wears
it; what else looks at the wall clock is our scheduler, which has a test of its own.
"""

import shlex
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
        }

    def worn_by(self, program: Path) -> Path:
        """A program that runs *program* under this clock."""
        words = [f"{name}={value}" for name, value in self.environ.items()]
        command = shlex.join(["env", *words, str(program)])
        script = self._file.with_suffix(".sh")
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
        return script
