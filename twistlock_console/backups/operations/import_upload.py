"""Takes an uploaded file into the volume, if it is a good backup."""

from pathlib import Path
from typing import Any

from twistlock_console.backups.format.manifest import Manifest
from twistlock_console.backups.format.naming import BackupName
from twistlock_console.backups.format.progress import Tell
from twistlock_console.backups.storage.verify import verify
from twistlock_console.backups.storage.volume import Volume, copy, hash_of
from twistlock_console.backups.storage.work_folder import Workplace
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.settings import Settings


def admit(settings: Settings, upload: Path, file: str, tell: Tell) -> dict[str, Any]:
    """Verify *upload*, store it as *file* and delete it; raises ConsoleError."""
    volume, name = Volume(settings.data_recovery_volume), BackupName.of(file)
    try:
        manifest = verify(upload, tell, decode=True)
        _compare(manifest, name)
        _store(settings, upload, file, volume)
    except Refused as error:
        raise Refused(str(error).replace(upload.name, file)) from error
    finally:
        upload.unlink(missing_ok=True)
    size = volume.find(file).size
    return {"file": file, "size": size, "bytes": manifest.size}


def _compare(manifest: Manifest, name: BackupName) -> None:
    right = BackupName(name.name, manifest.version, manifest.time)
    if name != right:
        raise Refused(f"it is not what it was when it was sent: it is {right.file} now")


def _store(settings: Settings, upload: Path, file: str, volume: Volume) -> None:
    target = volume.path(file)
    with Workplace(settings.folders) as place:
        if target.exists():
            raise Refused(f"there is a backup {file} already")
        place.claim(target)
        try:
            sha256 = copy(upload, target)
            same = hash_of(target) == sha256
        except OSError as error:
            raise volume.failure(error) from error
        if not same:
            target.unlink()
            raise ConsoleError(f"the volume {volume.root} gave back other bytes")
        volume.seal(file, sha256)
