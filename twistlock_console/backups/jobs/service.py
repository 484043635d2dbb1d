"""The backup service of a node: start jobs, and record the outcome of each.

Raises Refused for impossible requests. The database has one document for each kind of
backup and each other kind of job, about its latest run. All nodes see the same, so a
new primary continues where the old one ended.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from shutil import disk_usage
from typing import Protocol
from uuid import uuid4

from pydantic import TypeAdapter
from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.backups.format.manifest import (
    BackupName,
    check_name,
    restore_refusal,
)
from twistlock_console.backups.jobs.runner import (
    Actor,
    FinishedJob,
    Job,
    JobKind,
    JobRunner,
    passphrase_text,
)
from twistlock_console.backups.operations import identity, restore_journal
from twistlock_console.backups.operations.restore_plan import RestoreState
from twistlock_console.backups.operations.snapshot_history import long_history
from twistlock_console.backups.storage.health import VolumeCalls
from twistlock_console.backups.storage.volume import StoredBackup, Volume, read_manifest
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError, DatabaseError, Refused
from twistlock_console.database.client import Db
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import BackupFinished
from twistlock_console.settings import Settings

COLLECTION = "backup_results"
SCHEDULE = "schedule"
MANUAL = "manual"
INTERRUPTED_ERROR = "it was interrupted: the node that ran it ended or stopped serving"
log = logging.getLogger(__name__)


class PortsOfNode(Protocol):
    """The service ports of the node."""

    @property
    def is_open(self) -> bool:
        """Return whether this node serves."""

    def reopen(self, reason: str) -> None:
        """Close the ports; they open again when the data is ready."""


class JobState(StrEnum):
    """The states of the latest run of a kind of job."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The latest run of a kind of job; a field is None if its document lacks it.

    *succeeded* is when a job of the kind last succeeded, *bytes* are those of the
    documents in the backup, *size* are those of its *file*.
    """

    state: JobState
    run: str | None = None
    node: str | None = None
    began: datetime | None = None
    ended: datetime | None = None
    succeeded: datetime | None = None
    error: str | None = None
    file: str | None = None
    size: int | None = None
    bytes: int | None = None
    identity: bool | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the fields that are not None, times as ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value is not None
        }


_RECORD = TypeAdapter(JobRecord)


def last_results(database: Db) -> dict[str, JobRecord]:
    """Return the record of the latest run of each kind of job.

    The keys are daily, weekly, monthly, manual, restore, verify and upload, as far as
    there was one.
    """
    found = database[COLLECTION].find({"_id": {"$ne": SCHEDULE}})
    return {str(each["_id"]): _RECORD.validate_python(each) for each in found}


def record_start(database: Db, keys: Sequence[str], run: str, node: str) -> None:
    """Record that the job *run* starts on *node*, in the documents *keys*."""
    for key in keys:
        started = {"run": run, "node": node, "began": _now()}
        change = {"$set": {"state": JobState.RUNNING, **started}}
        database[COLLECTION].update_one({"_id": key}, change, upsert=True)


def record_end(database: Db, finished: FinishedJob) -> None:
    """Record the outcome of a job."""
    now = _now()
    result = finished.result.to_document() if finished.result else {}
    result |= {"seconds": round(finished.seconds, 2), "ended": now}
    result |= {"state": JobState.FAILED, "error": finished.error}
    if not finished.error:
        result |= {"state": JobState.DONE, "succeeded": now}
    running = {"run": finished.job.run, "state": JobState.RUNNING}
    database[COLLECTION].update_many(running, {"$set": result})


def record_interrupted(database: Db) -> None:
    """Mark jobs that are recorded as running as failed: their node ended.

    Only call it while no job is running.
    """
    ended = {"state": JobState.FAILED, "ended": _now(), "error": INTERRUPTED_ERROR}
    database[COLLECTION].update_many({"state": JobState.RUNNING}, {"$set": ended})


class BackupService:
    """Starts jobs and records them; *database* and *epoch* return the current ones."""

    def __init__(
        self,
        settings: Settings,
        ports: PortsOfNode,
        bus: Bus,
        database: Callable[[], Db],
        epoch: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._bus = bus
        self._database = database
        self._epoch = epoch
        self.jobs = JobRunner(self._finish, lambda: long_history(settings))
        self.volume = Volume(settings.data_recovery_volume)
        self.volume_calls = VolumeCalls(f"the backup volume {self.volume.root}")

    def list(self) -> list[StoredBackup]:
        """Return all backups in the volume, the newest first."""
        return self.volume_calls.call(self.volume.list)

    def create(self, name: str, passphrase: str, by: Actor) -> str:
        """Start a manual backup; return the id of its run."""
        secret = identity.check_passphrase(passphrase) if passphrase else None
        return self.back_up((check_name(name),), secret or self.key(), by)

    def back_up(self, names: tuple[str, ...], secret: bytes | None, by: Actor) -> str:
        """Start backups with the given *names*, of one cluster time; return the run."""
        return self._start(
            replace(
                self._job(JobKind.BACKUP, by),
                names=names,
                time=int(time.time()),
                epoch=self._epoch(),
                passphrase=passphrase_text(secret),
            )
        )

    def restore(self, file: str, by: Actor) -> str:
        """Start to restore a backup; return the run."""
        path = self.volume.path(file)
        manifest = self.volume_calls.call(lambda: read_manifest(path))
        free = disk_usage(self._settings.data_folder).free
        if refusal := restore_refusal(manifest, __version__, free):
            raise Refused(refusal)
        return self._start(replace(self._job(JobKind.RESTORE, by), file=file))

    def verify(self, file: str, by: Actor, *, restored: bool) -> str:
        """Start to verify a backup, with *restored* by a trial; return the run."""
        self._find(file)
        job = self._job(JobKind.VERIFY, by)
        return self._start(replace(job, file=file, thorough=restored))

    def import_upload(self, upload: str, file: str, by: Actor) -> str:
        """Start to move an uploaded file into the volume; return the run."""
        BackupName.of(file)
        job = self._job(JobKind.UPLOAD, by)
        return self._start(replace(job, file=file, upload=upload))

    def rename(self, file: str, name: str, by: Actor) -> str:
        """Give a manual backup another name; return the new file name."""
        old = self._find(file).name
        if old.is_system:
            raise Refused(f"{file} is a scheduled backup and cannot be renamed")
        new = BackupName(check_name(name), old.version, old.time).file
        self._check_idle()
        self.volume_calls.call(lambda: self.volume.rename(file, new))
        self.audit(by, f"renamed the backup {file} to {new}")
        return new

    def delete(self, file: str, by: Actor) -> None:
        """Delete a backup."""
        self._find(file)
        self._check_idle()
        self.volume_calls.call(lambda: self.volume.delete(file))
        self.audit(by, f"deleted the backup {file}")

    def key(self) -> bytes | None:
        """Return the content of the key file, if one is set; raises ConsoleError."""
        path = self._settings.data_recovery_key_file
        return identity.read_key_file(path) if path else None

    def results(self) -> dict[str, JobRecord]:
        """Return the latest records; {} while the database does not answer."""
        try:
            return last_results(self._database())
        except PyMongoError:
            return {}

    def audit(self, by: Actor, status: str, *, failure: bool = False) -> None:
        """Record *status* in the audit trail; raises DatabaseError."""
        entry = AuditEntry(
            AuditType.BACKUP, by.username, by.source_ip, by.api, status, failure
        )
        try:
            trail.record(self._database(), entry)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"done, but the audit record failed: {why}") from error

    def activate_restore(self, file: str) -> None:
        """Reopen the ports; the restored backup *file* takes effect in between."""
        # A port that does not close is reported by the ports, and closed again.
        with suppress(ConsoleError):
            self._ports.reopen(f"the backup {file} takes effect")

    def _find(self, file: str) -> StoredBackup:
        return self.volume_calls.call(lambda: self.volume.find(file))

    def _check_idle(self) -> None:
        if self.jobs.current_run is not None:
            raise Refused("a backup or a restore is running; wait until it has ended")

    def _job(self, kind: JobKind, by: Actor) -> Job:
        return Job(kind=kind, run=uuid4().hex[:12], settings=self._settings, by=by)

    def _start(self, job: Job) -> str:
        here = self._settings.node_address
        record = partial(record_start, self._database(), _keys(job), job.run, here)
        self.jobs.start(job, record)
        return job.run

    def _finish(self, finished: FinishedJob) -> None:
        """Log, record and publish the outcome of a job."""
        if finished.error and self._is_committed(finished.job):
            log.warning("the restore is committed and takes effect: %s", finished.error)
            finished = replace(finished, error="")
        job, error = finished.job, finished.error
        what = f"{job.kind} of {job.what}"
        level = logging.ERROR if error else logging.INFO
        how = f"failed ({error})" if error else "succeeded"
        log.log(level, "%s %s after %.1f s", what, how, finished.seconds)
        try:
            self._record(finished, what)
        except (PyMongoError, ConsoleError) as failed:
            log.warning("recording the outcome of the %s failed: %s", what, failed)
        size = (finished.result and finished.result.size) or 0
        self._bus.publish(
            BackupFinished(job.kind, job.what, error, finished.seconds, size)
        )
        if job.kind is JobKind.RESTORE and not error:
            self.activate_restore(job.file)

    def _is_committed(self, job: Job) -> bool:
        """Return whether *job* is a committed restore, which takes effect anyway."""
        if job.kind is not JobKind.RESTORE:
            return False
        try:
            found = restore_journal.read(self._database())
        except PyMongoError:
            return False  # the next tick asks again
        decided = (RestoreState.SWITCHING, RestoreState.DONE)
        return bool(found and found.run == job.run and found.state in decided)

    def _record(self, finished: FinishedJob, what: str) -> None:
        job, error = finished.job, finished.error
        record_end(self._database(), finished)
        if error:
            self.audit(job.by, f"{what} failed: {error}", failure=True)
        elif job.kind is not JobKind.RESTORE:
            # A restore is recorded when it takes effect.
            self.audit(job.by, f"{what} succeeded")


def _keys(job: Job) -> list[str]:
    """Return the keys of the records of *job*."""
    if job.kind is not JobKind.BACKUP:
        return [job.kind]
    system = [name for name in job.names if BackupName(name, "0", 0).is_system]
    return system or [MANUAL]


def _now() -> datetime:
    return datetime.now(UTC)
