"""Backup and restore, against a bare read and a bare write of the same data.

BACKUP_MB says how large the database is that is made for it; 2 GB if it is not set.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.backups.backup_node import BackupNode, ignore_progress, started
from tests.bench.row import Goal, Row
from twistlock_console.backups.jobs.runner import (
    Actor,
    Job,
    JobKind,
    WorkerProcess,
    passphrase_text,
)
from twistlock_console.backups.operations import restore_journal
from twistlock_console.backups.operations.snapshot_history import long_history
from twistlock_console.database.client import Db

MEGABYTES = int(os.environ.get("BACKUP_MB", "2048"))
NAMES = ("events", "facts", "findings", "policies")
BATCH = 1000
DOCUMENT_BYTES = 1050
MOST_RUNS = 3
SOME = {"epoch": 1, "passphrase": passphrase_text(b"a passphrase of the bench")}


def measure(runs: int) -> Iterator[Row]:
    """Times beside those of the bare ones, and the memory of the worker."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-backups-") as folder,
        started(Path(folder) / "node", cache_gb=0.5) as bare,
    ):
        node = bare.with_volume(Path(folder) / "volume")
        writes = _fill(node.database)
        many = min(runs, MOST_RUNS)
        reads = [_read(node.database) for _ in range(many)]
        raw = [_read_raw(node.database) for _ in range(many)]
        made = [_worker(node, number) for number in range(many)]
        restored = [_restore(node, str(made[0]["file"])) for _ in range(many)]
    yield _against("backup", [m["seconds"] for m in made], reads, "cursor read")
    yield _against("backup", [m["seconds"] for m in made], raw, "read of raw batches")
    yield _against("restore", [m["seconds"] for m in restored], writes, "insert_many")
    memory = [m["memory"] for m in (*made, *restored)]
    yield Row("memory of the worker", "MB", memory, goal=Goal(150, 150))
    yield Row("size of the backup", "MB", [m["size"] / 1e6 for m in made])


def _against(what: str, ours: list[float], bare: list[float], name: str) -> Row:
    """Twice the time of the *bare* one is half of its throughput."""
    most = round(2 * median(bare), 2)
    goal = None if "raw" in name else Goal(most, most)
    return Row(f"{what}, against a bare {name}", "s", ours, bare, goal)


def _documents(chance: random.Random, first: int) -> list[dict[str, Any]]:
    return [
        {
            "_id": number,
            "host": f"host-{number % 997}.example.com",
            "type": chance.choice(("process", "network", "file")),
            "message": f"process started by user {number % 13} in a container",
            "details": chance.randbytes(350).hex(),
            "labels": {"zone": f"zone-{number % 7}", "level": number % 5},
            "note": "nothing out of the ordinary was seen here " * 2,
        }
        for number in range(first, first + BATCH)
    ]


def _fill(database: Db) -> list[float]:
    """Make the data; gives the seconds that bare insert_many took for them."""
    chance, seconds = random.Random(6), 0.0  # noqa: S311 - always the same
    each = MEGABYTES * 1024**2 // DOCUMENT_BYTES // len(NAMES)
    for name in NAMES:
        for first in range(0, each, BATCH):
            documents = _documents(chance, first)
            began = time.monotonic()
            database[name].insert_many(documents)
            seconds += time.monotonic() - began
        database[name].create_index("host")
    return [seconds]


def _read(database: Db) -> float:
    began = time.monotonic()
    for name in NAMES:
        for _ in database[name].find():
            pass
    return time.monotonic() - began


def _read_raw(database: Db) -> float:
    began = time.monotonic()
    for name in NAMES:
        for _ in database[name].find_raw_batches({}):
            pass
    return time.monotonic() - began


@contextmanager
def _written(database: Db) -> Iterator[None]:
    """Something is written all the while."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.01):
            database["events"].insert_one({"text": "written meanwhile"})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _worker(node: BackupNode, number: int) -> dict[str, Any]:
    job = _job(node, JobKind.BACKUP, names=(f"bench{number}",), time=number + 5, **SOME)
    with long_history(node.settings), _written(node.database):
        return _run(job)


def _restore(node: BackupNode, file: str) -> dict[str, Any]:
    indexes = [node.database[name].index_information() for name in NAMES]
    done = _run(_job(node, JobKind.RESTORE, file=file))
    began = time.monotonic()
    restore_journal.complete(node.database)
    done["seconds"] += time.monotonic() - began
    # The worker has compared every byte; what it does not read are the indexes.
    assert [node.database[name].index_information() for name in NAMES] == indexes
    return done


def _job(node: BackupNode, kind: JobKind, **wanted: Any) -> Job:
    who = Actor("bench")
    return Job(kind=kind, run="bench", settings=node.settings, by=who, **wanted)


def _run(job: Job) -> dict[str, Any]:
    """Do *job*; its result, with the seconds and the megabytes that it took."""
    worker, peaks = WorkerProcess(job, ignore_progress), [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            peaks.append(_peak(worker.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        result = worker.run()
    finally:
        seconds = time.monotonic() - began
        ended.set()
        watcher.join()
    return {**asdict(result), "seconds": seconds, "memory": max(peaks) / 1024}


def _peak(pid: int | None) -> int:
    """The most kilobytes that the process has had so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if "VmHWM" in line), 0)
