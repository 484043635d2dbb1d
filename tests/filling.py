"""Fills a node's database, in the shapes in which the Console itself stores things.

python -m tests.filling CONFIG --history 60 --defenders 40 --events 200
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo.database import Database

from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.common.search_terms import FIELD, index_terms
from twistlock_console.database.client import connect, root_credentials
from twistlock_console.defenders import event_store, register
from twistlock_console.protocol import Event, Facts, FileEvent, ProcessEvent
from twistlock_console.settings import load_settings
from twistlock_console.web.common.database import DATABASE
from twistlock_console.web.lists.registry import ensure_indexes

Store = Database[dict[str, Any]]
AT_ONCE = 5_000
SERVER = register.ServingProcess("example", 1, "127.0.0.1")
ACTS = (
    "successful login attempt",
    "failed login attempt",
    "changed the logon settings",
)
DIFF = ' {\n-  "sessionTimeoutSec": 1800\n+  "sessionTimeoutSec": 900\n }'


def fill_history(database: Store, begin: int, end: int) -> None:
    """Store acts of administrators, numbered from *begin* to before *end*."""
    now = datetime.now(UTC)
    for numbers in _batches(range(begin, end)):
        database[trail.COLLECTION].insert_many(
            [_act(number, now) for number in numbers], ordered=False
        )


def fill_defenders(database: Store, begin: int, end: int) -> None:
    """Register Defenders; one in twenty is away."""
    now = datetime.now(UTC)
    for numbers in _batches(range(begin, end)):
        changes = [
            register.connected_update(SERVER, _arrival(number, now), now)
            for number in numbers
        ]
        changes += [
            register.disconnected_update(SERVER, name_of(number), number, now, 1.0)
            for number in numbers
            if number % 20 == 19
        ]
        database[register.COLLECTION].bulk_write(changes, ordered=True)


def fill_events(database: Store, begin: int, end: int, defenders: int) -> None:
    """Store findings of *defenders* Defenders, a few each second back in time."""
    now = datetime.now(UTC)
    for numbers in _batches(range(begin, end)):
        for_each: dict[str, list[Event]] = {}
        for number in numbers:
            name = name_of(number * 7 % max(1, defenders))
            for_each.setdefault(name, []).append(_event(number, now))
        documents = [
            document
            for name, events in for_each.items()
            for document in event_store.encode_documents(name, events)
        ]
        database[event_store.COLLECTION].insert_many(documents, ordered=False)


def name_of(number: int) -> str:
    """Give the name of a Defender's host."""
    kind = ("web", "db", "build", "mail")[number % 4]
    return f"{kind}-{number:05}.example.com"


def _act(number: int, now: datetime) -> dict[str, Any]:
    status = ACTS[number % 3]
    entry = AuditEntry(
        type=AuditType.SETTINGS if number % 3 == 2 else AuditType.LOGIN,
        username=f"user{number % 19:02}",
        source_ip=f"192.0.2.{number % 250}",
        api="/api/v1/settings/logon" if number % 3 == 2 else "/login",
        status=status,
        failure=number % 3 == 1,
        diff=DIFF if number % 3 == 2 else "",
    )
    return {
        "time": now - timedelta(seconds=7 * number),
        "type": entry.type,
        "username": entry.username,
        "sourceIP": entry.source_ip,
        "api": entry.api,
        "diff": entry.diff,
        "status": entry.status,
        "failure": entry.failure,
        FIELD: index_terms(entry.username, entry.source_ip, entry.status),
    }


def _arrival(number: int, now: datetime) -> register.ConnectedDefender:
    name = name_of(number)
    facts = Facts(
        os=("Debian GNU/Linux 12", "Ubuntu 22.04.5 LTS")[number % 2],
        kernel="6.1.0-28-amd64",
        cpu_count=4,
        memory_gb=7.8,
        total_disk_space_gb=98.0,
        free_disk_space_gb=41.5,
        packages=612,
        fqdn=name,
    )
    return register.ConnectedDefender(
        name=name,
        connection=number,
        address=f"10.1.{number // 250 % 250}.{number % 250}",
        version="26.11.0",
        policy="",
        facts=facts,
        serial=f"{number:032x}",
        expires=now + timedelta(days=1000),
    )


def _event(number: int, now: datetime) -> Event:
    time = now - timedelta(seconds=number / 3)
    if number % 3:
        return FileEvent(
            number=number + 1,
            time=time,
            rule="Watch the configuration",
            effect="alert",
            path=f"/etc/service-{number % 1000}/settings.conf",
            change="modified",
            mode="0644",
            owner="root",
            process="vim (4711)",
        )
    event = ProcessEvent(
        number=number + 1,
        time=time,
        rule="No network tools",
        effect="prevent",
        pid=1000 + number % 9000,
        path="/usr/bin/nc",
        name="nc",
        command="nc -l -p 4444",
        user="www-data",
        outcome="ended",
    )
    return replace(event, effect="alert", outcome="alerted") if number % 2 else event


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    left = iter(numbers)
    while batch := list(islice(left, AT_ONCE)):
        yield batch


def main() -> None:
    """Fill the database of the node whose configuration is named."""
    parser = argparse.ArgumentParser(prog="tests.filling")
    parser.add_argument("config", type=Path)
    for what in ("history", "defenders", "events"):
        parser.add_argument(f"--{what}", type=int, default=0)
    wanted = parser.parse_args()
    settings = load_settings(wanted.config, {})
    with connect(
        settings, root_credentials(settings), app_name="filling", timeout_ms=60_000
    ) as client:
        database = client[DATABASE]
        ensure_indexes(database)
        fill_history(database, 0, wanted.history)
        fill_defenders(database, 0, wanted.defenders)
        fill_events(database, 0, wanted.events, wanted.defenders)


if __name__ == "__main__":
    main()
