"""Backups, as pages and API reach them: over the node API, which does the work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from flask import Response, current_app, request, send_file

from twistlock_console.audit.trail import AuditType
from twistlock_console.backups.format.manifest import BackupName
from twistlock_console.backups.storage.volume import Volume, read_manifest
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, NotFound, Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.actions.uploads import kept_upload
from twistlock_console.web.security.sessions import current_username

EXTENSION = "backups_client"
#: So long a request waits for work that is usually short.
WAIT_SECONDS = 20.0


def look() -> dict[str, Any]:
    """The backups, what is under way, and how the latest work ended."""
    return cast(dict[str, Any], _client().get("/v1/backups"))


def find(file: str) -> dict[str, Any]:
    """One backup; raises NotFound, or ConsoleError with what is wrong."""
    told = look()
    for each in told["backups"]:
        if each["id"] == file:
            return dict(each)
    if told["problem"]:
        raise ConsoleError(told["problem"])
    raise NotFound(f"there is no backup {file[:100]}")


def order(verb: str, what: str, **body: object) -> dict[str, Any]:
    """Have the node do it for the present user, who is put on record with it."""
    who = {
        "username": current_username(),
        "sourceIP": request.remote_addr or "unknown",
        "api": request.path,
    }
    with _refusal_recorded(f"{verb} of the backup {what}"):
        return dict(_client().post(f"/v1/backups/{verb}", {**body, "by": who}))


def download(file: str) -> Response:
    """Stream a backup to the present user."""
    find(file)
    path = Volume(_settings().data_recovery_volume).path(file)
    answer = send_file(path, "application/gzip", as_attachment=True, max_age=0)
    record_change(AuditType.BACKUP, f"downloaded the backup {file}")
    return answer


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded backup: the *file* that it is stored as, once it *is_stored*."""

    file: str
    is_stored: bool


def upload(file: str, source: IO[bytes]) -> Upload:
    """Store the backup that *source* gives, under the name that its content has.

    *file* is what the client calls it. Raises Refused with what is wrong with it.
    """
    with kept_upload(source) as path:
        name = _name_of(path, file).file
        if any(each["id"] == name for each in look()["backups"]):
            raise Refused(f"there is a backup {name} already")
        # The node takes the file over under another name, and deletes it.
        handed = path.with_name(f"{path.name}-whole")
        handed.hardlink_to(path)
    try:
        run = order("admit", name, upload=str(handed), id=name)["run"]
    except ConsoleError:
        handed.unlink(missing_ok=True)
        raise
    return Upload(name, _ended(run))


def _name_of(path: Path, file: str) -> BackupName:
    try:
        manifest = read_manifest(path)
    except Refused as error:
        raise Refused(str(error).replace(path.name, file[:100])) from error
    return BackupName.of_content(file, manifest.name, manifest.version, manifest.time)


def _ended(run: str) -> bool:
    deadline = boottime_ns() + int(WAIT_SECONDS * SECOND)
    while boottime_ns() < deadline:
        told = _client().get(f"/v1/backups/runs/{run}")
        if told["state"] == "ended":
            if told["error"]:
                raise Refused(told["error"])
            return True
        time.sleep(0.2)
    return False


@contextmanager
def _refusal_recorded(what: str) -> Iterator[None]:
    try:
        yield
    except ConsoleError as error:
        record_change(AuditType.BACKUP, f"tried in vain: {what}; {error}", failure=True)
        raise


def _settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])


def _client() -> NodeClient:
    # Made when a process first needs it, after its server forked.
    if EXTENSION not in current_app.extensions:
        own = _settings()
        client = NodeClient(own, own.node_address, timeout=15.0)
        current_app.extensions[EXTENSION] = client
    return cast(NodeClient, current_app.extensions[EXTENSION])
