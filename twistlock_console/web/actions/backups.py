"""Backups for pages and API: the work is done by the node, over the node API.

The payload of an upload is streamed to the disk and has its own size limit. All other
requests keep the small limit of the application.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from flask import Response, current_app, g, request, send_file
from werkzeug.exceptions import LengthRequired

from twistlock_console.audit.trail import AuditType
from twistlock_console.backups.format.manifest import BackupName
from twistlock_console.backups.storage.volume import Volume, read_manifest
from twistlock_console.backups.storage.work import FOLDER
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, NotFound, Refused
from twistlock_console.common.request_limits import (
    MAX_OPEN_BODY_BYTES,
    NEEDS_LENGTH,
)
from twistlock_console.node_api.client import NodeClient
from twistlock_console.web.actions.audit import record_change
from twistlock_console.web.common.database import current_settings
from twistlock_console.web.common.http import ConsoleRequest
from twistlock_console.web.security.sessions import current_username, session_user

EXTENSION = "backups_client"
#: A request waits so long for a job that is usually short.
SHORT_JOB_TIMEOUT_S = 20.0
#: Endpoints of uploads. The guards of the API run before the body is read.
BY_API, BY_PAGE = "api_backup_files.upload", "backup_files.upload"
#: Share of the free space in DATA_FOLDER that one upload may take.
MAX_UPLOAD_FRACTION = 0.5
CHUNK_BYTES = 1024**2


def get_overview() -> dict[str, Any]:
    """Return the backups, the job in progress, and the latest results."""
    return cast(dict[str, Any], _client().get("/v1/backups"))


def find_backup(file: str) -> dict[str, Any]:
    """Return one backup.

    Raises:
        NotFound: no backup has this name.
        ConsoleError: the volume cannot be read; the message says why.
    """
    overview = get_overview()
    for each in overview["backups"]:
        if each["id"] == file:
            return dict(each)
    if overview["problem"]:
        raise ConsoleError(overview["problem"])
    raise NotFound(f"there is no backup {file[:100]}")


def start_job(verb: str, what: str, **body: object) -> dict[str, Any]:
    """Order a backup job from the node; the audit trail names the present user.

    Args:
        verb: name of the job in the node API, such as "create".
        what: name or file of the backup, for the audit trail.
        **body: further members of the request.

    Raises:
        ConsoleError: the node refused or did not answer. The refusal is recorded.
    """
    who = {
        "username": current_username(),
        "sourceIP": request.remote_addr or "unknown",
        "api": request.path,
    }
    with _audited_refusal(f"{verb} of the backup {what}"):
        return dict(_client().post(f"/v1/backups/{verb}", {**body, "by": who}))


def download(file: str) -> Response:
    """Stream a backup to the present user."""
    find_backup(file)
    path = Volume(current_settings().data_recovery_volume).path(file)
    answer = send_file(path, "application/gzip", as_attachment=True, max_age=0)
    record_change(AuditType.BACKUP, f"downloaded the backup {file}")
    return answer


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded backup: its file name; *is_stored* is false while it is verified."""

    file: str
    is_stored: bool


def upload(file: str, source: IO[bytes]) -> Upload:
    """Store an uploaded backup under the name that its content gives.

    Args:
        file: name that the client gave, for messages.
        source: stream of the content.

    Raises:
        Refused: the file is no valid backup, or a backup of this name exists.
    """
    with saved_upload(source) as path:
        name = _backup_name(path, file).file
        if any(each["id"] == name for each in get_overview()["backups"]):
            raise Refused(f"there is a backup {name} already")
        # The node takes the file over under another name, and deletes it.
        handed = path.with_name(f"{path.name}-whole")
        handed.hardlink_to(path)
    try:
        run = start_job("admit", name, upload=str(handed), id=name)["run"]
    except ConsoleError:
        handed.unlink(missing_ok=True)
        raise
    return Upload(name, _wait_until_stored(run))


def _backup_name(path: Path, file: str) -> BackupName:
    try:
        manifest = read_manifest(path)
    except Refused as error:
        raise Refused(str(error).replace(path.name, file[:100])) from error
    return BackupName.of_content(file, manifest.name, manifest.version, manifest.time)


def _wait_until_stored(run: str) -> bool:
    deadline = boottime_ns() + int(SHORT_JOB_TIMEOUT_S * SECOND)
    while boottime_ns() < deadline:
        state = _client().get(f"/v1/backups/runs/{run}")
        if state["state"] == "ended":
            if state["error"]:
                raise Refused(state["error"])
            return True
        time.sleep(0.2)
    return False


@contextmanager
def _audited_refusal(what: str) -> Iterator[None]:
    try:
        yield
    except ConsoleError as error:
        record_change(AuditType.BACKUP, f"failed: {what}: {error}", failure=True)
        raise


def _client() -> NodeClient:
    # Created when a process first needs it, after its server forked.
    if EXTENSION not in current_app.extensions:
        own = current_settings()
        client = NodeClient(own, own.node_address, timeout=15.0)
        current_app.extensions[EXTENSION] = client
    return cast(NodeClient, current_app.extensions[EXTENSION])


class UploadRequest(ConsoleRequest):
    """A request of the Console, with a size limit for its body.

    The limit is small without an account, larger with one, and for the upload of a
    backup it depends on the free disk space.
    """

    @property
    def max_content_length(self) -> int | None:
        """Return the maximum length of the body, in bytes.

        Flask reads it before the body, and after the guards of the API.

        Raises:
            LengthRequired: a request without an account has no Content-Length.
        """
        if (self.content_length or MAX_OPEN_BODY_BYTES + 1) <= MAX_OPEN_BODY_BYTES:
            return MAX_OPEN_BODY_BYTES
        if self._is_upload:
            return int(MAX_UPLOAD_FRACTION * shutil.disk_usage(_upload_folder()).free)
        if self._has_account:
            return super().max_content_length
        if self.headers.get("Transfer-Encoding"):
            raise LengthRequired(NEEDS_LENGTH)
        return MAX_OPEN_BODY_BYTES

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        raise AttributeError(
            f"the limit follows from the address; it cannot be set to {value}"
        )

    @property
    def _has_account(self) -> bool:
        """Return whether the API's guard found an account, or a session is valid."""
        if self.path.startswith("/api/"):
            return "account" in g
        return session_user() is not None

    @property
    def _is_upload(self) -> bool:
        # Flask reads a form before the guard of its page runs.
        by_page = self.endpoint == BY_PAGE and session_user() is not None
        return by_page or self.endpoint == BY_API

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if self.endpoint == BY_PAGE:
            return cast(IO[bytes], _new_upload())
        return super()._get_file_stream(
            total_content_length, content_type, filename, content_length
        )


@contextmanager
def saved_upload(source: IO[bytes]) -> Iterator[Path]:
    """Copy *source* to a temporary file, which exists until the context ends."""
    with _new_upload() as file:
        shutil.copyfileobj(source, file, CHUNK_BYTES)
        file.flush()
        yield Path(file.name)


def _new_upload() -> "tempfile._TemporaryFileWrapper[bytes]":
    return tempfile.NamedTemporaryFile(prefix="upload-", dir=_upload_folder())


def _upload_folder() -> Path:
    settings = current_settings()
    place = settings.data_folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    return place
