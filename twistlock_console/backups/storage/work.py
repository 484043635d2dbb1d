"""The work on a backup: progress, result, throttle, and local folder."""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from twistlock_console.backups.format.manifest import SEAL
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.settings import Folders

REPORT_INTERVAL_S = 0.3
#: Throttle: the work pauses for this share of the time, so that Defenders come first.
THROTTLE_SHARE = 0.05
FOLDER = "backup-work"
CLAIMS = "claims"
MAX_UPLOAD_AGE_S = 3600
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A *phase* of the work, with the bytes done and the bytes in all."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class WorkResult:
    """The backup that the work was about: its *file*, and the *bytes* of its documents.

    *size* is that of the file, *identity* says whether it holds the keys; None where
    the work did not write or read the whole file.
    """

    file: str
    bytes: int
    size: int | None = None
    identity: bool | None = None

    def to_document(self) -> dict[str, object]:
        """Return the fields that are known."""
        return {name: v for name, v in asdict(self).items() if v is not None}


ReportProgress = Callable[[JobProgress], object]


class Meter:
    """Counts the bytes of one *phase*, reports them, and throttles the work."""

    def __init__(self, phase: str, total: int, report: ReportProgress) -> None:
        self._phase = phase
        self._total = total
        self._report = report
        self._done = 0
        self._reported_at = 0
        self._since = boottime_ns()
        self._report(JobProgress(phase, 0, total))

    def add(self, size: int) -> None:
        """Count *size* more bytes, and pause for a share of the time they took."""
        self._done += size
        now = boottime_ns()
        if now - self._reported_at > REPORT_INTERVAL_S * SECOND:
            self._reported_at = now
            total = max(self._total, self._done)
            self._report(JobProgress(self._phase, self._done, total))
        time.sleep(THROTTLE_SHARE * (now - self._since) / SECOND)
        self._since = boottime_ns()


class WorkFolder:
    """A context manager for a new folder below DATA_FOLDER, removed on exit."""

    def __init__(self, folders: Folders) -> None:
        self._root = folders.root / FOLDER

    def __enter__(self) -> Self:
        self._root.mkdir(mode=0o700, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=self._root))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def claim(self, target: Path) -> None:
        """Record that *target* will be written; `sweep` removes it if unsealed."""
        with (self.folder / CLAIMS).open("a", encoding="utf-8") as claims:
            claims.write(f"{target}\n")
            claims.flush()


def sweep(folders: Folders) -> None:
    """Remove the files of killed jobs; call it only while no job is running.

    If the volume does not answer, the next call tries again.
    """
    for folder in (folders.root / FOLDER).glob("work-*"):
        try:
            for target in _claims(folder):
                if not target.with_name(target.name + SEAL).exists():
                    target.unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            log.warning("files of a killed job not removed; retrying: %s", error)
    for upload in (folders.root / FOLDER).glob("upload-*"):
        with suppress(OSError):
            # An upload that is being written is younger.
            if time.time() - upload.stat().st_mtime > MAX_UPLOAD_AGE_S:
                upload.unlink()


def _claims(folder: Path) -> list[Path]:
    try:
        lines = (folder / CLAIMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Path(line) for line in lines]
