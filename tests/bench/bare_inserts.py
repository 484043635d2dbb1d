"""What stored findings are held against: `insert_many` of the same documents.

With the same indexes, into a collection that is dropped.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.bench.defender_stage import Stage
from tests.bench.findings import message
from tests.bench.light_defender import Light
from twistlock_console.defenders import event_store
from twistlock_console.web.lists.query import indexes_of
from twistlock_console.web.lists.registry import HOST_AUDITS


def insert_rate(made: Stage, seconds: float) -> float:
    """Documents in a second, a thousand at a time."""
    began, count = time.monotonic(), 0
    with _bare_collection(made) as insert:
        while time.monotonic() - began < seconds:
            insert(1000)
            count += 1000
        return count / (time.monotonic() - began)


def insert_waits(made: Stage, rate: int, seconds: float) -> list[float]:
    """Seconds that each document waits at *rate*, always those that are due at once."""
    waits: list[float] = []
    with _bare_collection(made) as insert:
        began, count = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            if due := int(passed * rate) - count:
                insert(due)
                end = time.monotonic() - began
                waits += [end - (count + n) / rate for n in range(due)]
                count += due
            time.sleep(0.001)
    return waits


@contextmanager
def _bare_collection(made: Stage) -> Iterator[Callable[[int], None]]:
    """Give what inserts so many documents into a collection that is dropped."""
    collection = made.database["bench_events"]
    collection.create_indexes([*indexes_of(HOST_AUDITS), *event_store.INDEXES])
    light = Light("bare")
    events = json.loads(message(light, 500))["events"]
    numbers = itertools.count()

    def insert(count: int) -> None:
        now = datetime.now(UTC)
        wave = [
            {
                **events[n % len(events)],
                "_id": f"bare/{next(numbers)}",
                "defender": "bare",
                "received": now,
                "time": now,
            }
            for n in range(count)
        ]
        collection.insert_many(wave, ordered=False)

    try:
        yield insert
    finally:
        collection.drop()
