"""Requests that carry a whole backup: streamed to the disk, with a bound of their own.

All other requests keep the small bound of the application.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from flask import Request, current_app, g
from werkzeug.exceptions import LengthRequired

from twistlock_console.backups.storage.work import FOLDER
from twistlock_console.common.request_limits import (
    MAX_OPEN_BODY_BYTES,
    NEEDS_LENGTH,
)
from twistlock_console.settings import Settings
from twistlock_console.web.security.sessions import session_user

#: By API and from the page; the guards of the API come before the body is read.
BY_API, BY_PAGE = "api_backup_files.upload", "backup_files.upload"
#: The part of the free room in DATA_FOLDER that one upload may take.
MOST = 0.5
CHUNK = 1024**2


class UploadRequest(Request):
    """A request as Flask knows it, with a bound for its body.

    A request without an account may carry little, one with an account more, and an
    upload of a backup as much as there is room for.
    """

    @property
    def max_content_length(self) -> int | None:
        """How long the body may be; raises LengthRequired if it has to say so first.

        It is asked for before the body is read, and after the guards of the API.
        """
        if (self.content_length or MAX_OPEN_BODY_BYTES + 1) <= MAX_OPEN_BODY_BYTES:
            return MAX_OPEN_BODY_BYTES
        if self._is_upload:
            return int(MOST * shutil.disk_usage(_place()).free)
        if self._has_account:
            return super().max_content_length
        if self.headers.get("Transfer-Encoding"):
            raise LengthRequired(NEEDS_LENGTH)
        return MAX_OPEN_BODY_BYTES

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        raise AttributeError(f"the bound is set by the address, not to {value}")

    @property
    def _has_account(self) -> bool:
        """Say whether the API's guard has found an account, or a living session is."""
        if self.path.startswith("/api/"):
            return "account" in g
        return session_user() is not None

    @property
    def _is_upload(self) -> bool:
        # A form is read before its page's guard asks who sends it.
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
            return cast(IO[bytes], _new_file())
        return super()._get_file_stream(
            total_content_length, content_type, filename, content_length
        )


@contextmanager
def kept_upload(source: IO[bytes]) -> Iterator[Path]:
    """Keep what *source* gives in a file until the end of the context."""
    with _new_file() as file:
        shutil.copyfileobj(source, file, CHUNK)
        file.flush()
        yield Path(file.name)


def _new_file() -> "tempfile._TemporaryFileWrapper[bytes]":
    return tempfile.NamedTemporaryFile(prefix="upload-", dir=_place())


def _place() -> Path:
    settings = cast(Settings, current_app.extensions["settings"])
    place = settings.data_folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    return place
