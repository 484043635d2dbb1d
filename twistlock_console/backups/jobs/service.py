"""What may be asked of a node's backups; whatever cannot be done raises Refused."""

import time
from collections.abc import Callable
from functools import partial
from shutil import disk_usage
from typing import Any
from uuid import uuid4

from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditType, Entry
from twistlock_console.backups.format import sealed_identity
from twistlock_console.backups.format.manifest import why_not_here
from twistlock_console.backups.format.naming import BackupName, check_name
from twistlock_console.backups.jobs import records
from twistlock_console.backups.jobs.jobs import Jobs
from twistlock_console.backups.jobs.task import Task, Verb, Who, as_text
from twistlock_console.backups.operations.dump import Store
from twistlock_console.backups.storage.timeout import Bounded
from twistlock_console.backups.storage.verify import read_manifest
from twistlock_console.backups.storage.volume import Stored, Volume
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.settings import Settings

MANUAL = "manual"


class Orders:
    """Begins work on *jobs*; *database* and *epoch* give those of now."""

    def __init__(
        self,
        settings: Settings,
        jobs: Jobs,
        database: Callable[[], Store],
        epoch: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._database = database
        self._epoch = epoch
        self.volume = Volume(settings.data_recovery_volume)
        self.bounded = Bounded(f"the backup volume {self.volume.root}")

    def list(self) -> list[Stored]:
        """All backups in the volume, the newest first."""
        return self.bounded.call(self.volume.list)

    def create(self, name: str, passphrase: str, by: Who) -> str:
        """Begin to make a manual backup; gives its run."""
        secret = sealed_identity.check_passphrase(passphrase) if passphrase else None
        return self.back_up((check_name(name),), secret or self.key(), by)

    def back_up(self, names: tuple[str, ...], secret: bytes | None, by: Who) -> str:
        """Begin to make backups called *names* of one moment; gives the run."""
        return self._begin(
            Verb.BACKUP,
            by,
            names=names,
            time=int(time.time()),
            epoch=self._epoch(),
            passphrase=as_text(secret),
        )

    def restore(self, file: str, by: Who) -> str:
        """Begin to restore a backup; gives its run."""
        path = self.volume.path(file)
        manifest = self.bounded.call(lambda: read_manifest(path))
        free = disk_usage(self._settings.data_folder).free
        if refusal := why_not_here(manifest, __version__, free):
            raise Refused(refusal)
        return self._begin(Verb.RESTORE, by, file=file)

    def verify(self, file: str, by: Who, *, restored: bool) -> str:
        """Begin to verify a backup, with *restored* by a trial; gives its run."""
        self._find(file)
        return self._begin(Verb.VERIFY, by, file=file, thorough=restored)

    def admit(self, upload: str, file: str, by: Who) -> str:
        """Begin to take an uploaded file into the volume; gives its run."""
        BackupName.of(file)
        return self._begin(Verb.UPLOAD, by, file=file, upload=upload)

    def rename(self, file: str, name: str, by: Who) -> str:
        """Give a manual backup another name; gives the new file name."""
        old = self._find(file).name
        if old.is_system:
            raise Refused(f"{file} is the Console's own and keeps its name")
        new = BackupName(check_name(name), old.version, old.time).file
        self._idle()
        self.bounded.call(lambda: self.volume.rename(file, new))
        self.record(by, f"renamed the backup {file} to {new}")
        return new

    def delete(self, file: str, by: Who) -> None:
        """Delete a backup."""
        self._find(file)
        self._idle()
        self.bounded.call(lambda: self.volume.delete(file))
        self.record(by, f"deleted the backup {file}")

    def key(self) -> bytes | None:
        """What the key file holds, if the settings name one; raises ConsoleError."""
        path = self._settings.data_recovery_key_file
        return sealed_identity.read_key_file(path) if path else None

    def record(self, by: Who, told: str, *, failure: bool = False) -> None:
        """Put on record what was done; raises DatabaseError."""
        entry = Entry(
            AuditType.BACKUP, by.username, by.source_ip, by.api, told, failure
        )
        try:
            trail.record(self._database(), entry)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"it was done and is not on record: {why}") from error

    def _find(self, file: str) -> Stored:
        return self.bounded.call(lambda: self.volume.find(file))

    def _idle(self) -> None:
        if self._jobs.run is not None:
            raise Refused("a backup or a restore is under way; wait until it has ended")

    def _begin(self, verb: Verb, by: Who, **wanted: Any) -> str:
        run = uuid4().hex[:12]
        task = Task(verb=verb, run=run, settings=self._settings, by=by, **wanted)
        here, keys = self._settings.node_address, _keys(task)
        note = partial(records.begin, self._database(), keys, run, here)
        self._jobs.begin(task, note)
        return run


def _keys(task: Task) -> list[str]:
    """Under which kinds of work the task is noted."""
    if task.verb is not Verb.BACKUP:
        return [task.verb]
    system = [name for name in task.names if BackupName(name, "0", 0).is_system]
    return system or [MANUAL]
