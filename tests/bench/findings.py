"""What the Defenders of the benchmark find."""

from datetime import UTC, datetime
from functools import lru_cache

from tests.bench.light_defender import Light
from twistlock_console.protocol import Events, ProcessEvent, encode

NUMBER = 8_888_888_888


def message(light: Light, size: int) -> bytes:
    """Write a message with the next *size* findings of *light*.

    From a pattern that is made anew each second: what is measured is the server.
    """
    pattern, comma = _pattern(datetime.now(UTC).replace(microsecond=0)), b","
    first = light.number + 1
    light.number += size
    head, event, tail = pattern
    events = [event % number for number in range(first, first + size)]
    return head + comma.join(events) + tail


@lru_cache(maxsize=1)
def _pattern(time: datetime) -> tuple[bytes, bytes, bytes]:
    """What stands before the events, an event with a place for its number, the end."""
    found = ProcessEvent(
        number=NUMBER,
        time=time,
        rule="default",
        effect="alert",
        pid=4711,
        path="/usr/bin/nc.openbsd",
        name="nc.openbsd",
        command="nc -l -p 4444 -e /bin/sh",
        user="www-data",
        outcome="alerted",
    )
    text = encode(Events((found,))).encode()
    start, end = text.index(b"[") + 1, text.rindex(b"]")
    event = text[start:end].replace(str(NUMBER).encode(), b"%d")
    return text[:start], event, text[end:]
