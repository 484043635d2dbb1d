"""Requests that carry a whole backup: streamed to the disk, with a bound of their own.

All other requests keep the small bound of the application.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from flask import Request, current_app, session

from twistlock_console.backups.storage.work_folder import FOLDER
from twistlock_console.settings import Settings
from twistlock_console.web.security.pages import COOKIE_PART

#: By API and from the page; the guards of the API come before the body is read.
BY_API, BY_PAGE = "api_backup_files.upload", "backup_files.upload"
#: The part of the free room in DATA_FOLDER that one upload may take.
MOST = 0.5
CHUNK = 1024**2


class UploadRequest(Request):
    """A request as Flask knows it, but for those two addresses."""

    @property
    def max_content_length(self) -> int | None:
        """How long the body may be."""
        if self._is_upload:
            return int(MOST * shutil.disk_usage(_place()).free)
        return super().max_content_length

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        raise AttributeError(f"the bound is set by the address, not to {value}")

    @property
    def _is_upload(self) -> bool:
        # A form is read before its page's guard asks who sends it.
        by_page = self.endpoint == BY_PAGE and COOKIE_PART in session
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
