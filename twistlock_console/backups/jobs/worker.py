"""The worker process of a backup job: it reads the job and reports its progress.

It is a child of the node, of low priority. It reads the job as JSON from standard
input, and writes lines of JSON to standard output: progress, and at last a result or an
error.
"""

import sys
from base64 import b64decode
from pathlib import Path

from pymongo.errors import PyMongoError

from twistlock_console.backups.jobs.runner import Job, JobKind, WorkerMessage
from twistlock_console.backups.operations import create, restore, verify
from twistlock_console.backups.storage.volume import Volume
from twistlock_console.backups.storage.work import JobProgress, WorkResult
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import Db, connect, credentials_for

#: The longest time for one command of the database: making a large index.
COMMAND_TIMEOUT_MS = 3_600_000


def main() -> int:
    """Run the job on standard input; return the exit code."""
    job = Job.from_json(sys.stdin.buffer.read())
    try:
        result = _run(job)
    except ConsoleError as error:
        _send(WorkerMessage(error=str(error)))
        return 1
    except (PyMongoError, OSError) as error:
        _send(WorkerMessage(error=f"it failed: {describe_error(error)}"))
        return 1
    _send(WorkerMessage(result=result))
    return 0


def _run(job: Job) -> WorkResult:
    settings = job.settings
    match job.kind:
        case JobKind.VERIFY:
            return verify.verify_stored(
                settings, job.file, _report, restored=job.thorough
            )
        case JobKind.UPLOAD:
            upload = Path(job.upload)
            return verify.import_upload(settings, upload, job.file, _report)
        case JobKind.BACKUP | JobKind.RESTORE:
            credentials = credentials_for(settings, "console")
            with connect(
                settings,
                credentials,
                app_name="backup",
                timeout_ms=COMMAND_TIMEOUT_MS,
                is_awaiting=True,
            ) as client:
                work = _create if job.kind is JobKind.BACKUP else _restore
                return work(job, client["twistlock"])


def _create(job: Job, database: Db) -> WorkResult:
    request = create.BackupRequest(job.names, job.time, job.epoch)
    passphrase = b64decode(job.passphrase) or None
    first, *_ = create.create_backup(
        job.settings, database, request, passphrase, _report
    )
    manifest = first.manifest
    return WorkResult(first.file, manifest.size, first.size, manifest.identity)


def _restore(job: Job, database: Db) -> WorkResult:
    settings = job.settings
    path = Volume(settings.data_recovery_volume).path(job.file)
    request = restore.RestoreRequest(job.run, path, job.by.username)
    manifest = restore.load(database, request, settings.data_folder, _report)
    return WorkResult(job.file, manifest.size)


def _report(progress: JobProgress) -> None:
    _send(WorkerMessage(progress=progress))


def _send(message: WorkerMessage) -> None:
    print(message.as_json(), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
