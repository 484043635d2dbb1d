"""What the Defenders of the benchmark find."""

from datetime import UTC, datetime

from tests.bench.light_defender import Light
from twistlock_console.protocol import Events, ProcessEvent, encode


def message(light: Light, size: int) -> bytes:
    """Write a message with the next *size* findings of *light*."""
    now = datetime.now(UTC)
    events = []
    for _ in range(size):
        light.number += 1
        events.append(
            ProcessEvent(
                number=light.number,
                time=now,
                rule="default",
                effect="alert",
                pid=4711,
                path="/usr/bin/nc.openbsd",
                name="nc.openbsd",
                command="nc -l -p 4444 -e /bin/sh",
                user="www-data",
                outcome="alerted",
            )
        )
    return encode(Events(tuple(events))).encode()
