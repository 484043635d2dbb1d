"""The local folder of one piece of work, and what is left of those that were killed."""

import logging
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from twistlock_console.backups.format.naming import SEAL
from twistlock_console.settings import Folders

FOLDER = "backup-work"
CLAIMS = "claims"
FORGOTTEN_SECONDS = 3600
log = logging.getLogger(__name__)


class Workplace:
    """A new folder below DATA_FOLDER, removed at the end; a context manager."""

    def __init__(self, folders: Folders) -> None:
        self._root = folders.root / FOLDER

    def __enter__(self) -> Self:
        self._root.mkdir(mode=0o700, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=self._root))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def claim(self, target: Path) -> None:
        """Note that *target* is about to be written: unsealed, it is our litter."""
        with (self.folder / CLAIMS).open("a", encoding="utf-8") as claims:
            claims.write(f"{target}\n")
            claims.flush()


def sweep(folders: Folders) -> None:
    """Remove what work left behind that was killed; none may be under way.

    Where the volume does not answer it is tried again the next time.
    """
    for folder in (folders.root / FOLDER).glob("work-*"):
        try:
            for target in _claims(folder):
                if not target.with_name(target.name + SEAL).exists():
                    target.unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            log.warning("the remains of a backup stay for now: %s", error)
    for upload in (folders.root / FOLDER).glob("upload-*"):
        with suppress(OSError):
            # One that is being written is younger.
            if time.time() - upload.stat().st_mtime > FORGOTTEN_SECONDS:
                upload.unlink()


def _claims(folder: Path) -> list[Path]:
    try:
        lines = (folder / CLAIMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Path(line) for line in lines]
