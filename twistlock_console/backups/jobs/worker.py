"""The process that does the long work: it reads its task, and tells how it goes.

It is a child of the node, of low priority. On standard input comes the task as JSON;
on standard output go lines of JSON: progress, and at last a result or an error.
"""

import json
import sys
from base64 import b64decode
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from twistlock_console.backups.format.progress import Progress
from twistlock_console.backups.jobs.task import Task, Verb
from twistlock_console.backups.operations import (
    create,
    import_upload,
    restore,
    trial_restore,
)
from twistlock_console.backups.storage.volume import Volume
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import connect, credentials_for

#: The longest that one command of the database may take: making a large index.
COMMAND_MS = 3_600_000


def main() -> int:
    """Do the task on standard input."""
    task = Task.from_json(sys.stdin.buffer.read())
    try:
        result = _do(task)
    except ConsoleError as error:
        _say({"error": str(error)})
        return 1
    except (PyMongoError, OSError) as error:
        _say({"error": f"it failed: {describe_error(error)}"})
        return 1
    _say({"result": result})
    return 0


def _do(task: Task) -> dict[str, Any]:
    settings, volume = task.settings, Volume(task.settings.data_recovery_volume)
    match task.verb:
        case Verb.VERIFY:
            return trial_restore.verify_again(
                settings, task.file, _tell, restored=task.thorough
            )
        case Verb.UPLOAD:
            return import_upload.admit(settings, Path(task.upload), task.file, _tell)
        case _:
            pass
    credentials = credentials_for(settings, "console")
    with connect(
        settings, credentials, app_name="backup", timeout_ms=COMMAND_MS, awaits=True
    ) as client:
        database = client["twistlock"]
        if task.verb is Verb.RESTORE:
            order = restore.Order(task.run, volume.path(task.file), task.by.username)
            manifest = restore.load(database, order, settings.data_folder, _tell)
            return {"file": task.file, "bytes": manifest.size}
        wish = create.Wish(task.names, task.time, task.epoch)
        secret = b64decode(task.passphrase) or None
        made = create.make(settings, database, wish, secret, _tell)
    return {
        "file": made[0].file,
        "size": made[0].size,
        "bytes": made[0].manifest.size,
        "identity": made[0].manifest.identity,
    }


def _tell(progress: Progress) -> None:
    _say({"progress": asdict(progress)})


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
