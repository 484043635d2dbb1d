"""Makes a backup: dumped to local files, written once, read back and sealed."""

from contextlib import suppress
from dataclasses import dataclass
from os import fsync
from pathlib import Path

from twistlock_console import __version__
from twistlock_console.backups.format import sealed_identity as identity
from twistlock_console.backups.format.archive_writer import Writer
from twistlock_console.backups.format.manifest import IDENTITY, MANIFEST, Manifest
from twistlock_console.backups.format.naming import BackupName, Kind
from twistlock_console.backups.format.progress import Meter, Tell
from twistlock_console.backups.operations.dump import (
    Dump,
    Store,
    data_path,
    dump,
    metadata_path,
)
from twistlock_console.backups.storage.verify import read_manifest, verify
from twistlock_console.backups.storage.volume import Stored, Volume, create, hash_of
from twistlock_console.backups.storage.work_folder import Workplace
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """The backups to make of one dump: their *names*, at Unix *time*, in *epoch*."""

    names: tuple[str, ...]
    time: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Made:
    """A finished backup: its file, its size, and what it holds."""

    file: str
    size: int
    manifest: Manifest


def make(
    settings: Settings,
    database: Store,
    wish: Wish,
    passphrase: bytes | None,
    tell: Tell,
) -> list[Made]:
    """Make the backups; raises ConsoleError and pymongo's errors.

    This Console's older ones of a kind are deleted once the new one is sealed.
    """
    volume = Volume(settings.data_recovery_volume)
    sealed = b""
    if passphrase is not None:
        sealed = identity.seal(identity.collect(settings.folders), passphrase)
    with Workplace(settings.folders) as place:
        try:
            dumped = dump(database, place.folder, tell)
        except OSError as error:
            raise ConsoleError(
                f"the backup cannot be prepared in {place.folder}: {error.strerror}; "
                "make room in DATA_FOLDER"
            ) from error
        return [
            _write(_Draft(settings, wish, name, dumped, sealed), place, volume, tell)
            for name in wish.names
        ]


@dataclass(frozen=True, slots=True)
class _Draft:
    settings: Settings
    wish: Wish
    name: str
    dumped: Dump
    identity: bytes

    @property
    def file(self) -> str:
        return BackupName(self.name, __version__, self.wish.time).file

    def manifest(self) -> Manifest:
        authority = self.settings.folders.certificates / AUTHORITY
        return Manifest(
            name=self.name,
            version=__version__,
            time=self.wish.time,
            epoch=self.wish.epoch,
            cluster_time=self.dumped.cluster_time,
            authority=fingerprint(authority.read_bytes()),
            identity=bool(self.identity),
            collections=self.dumped.collections,
        )


def _write(draft: _Draft, place: Workplace, volume: Volume, tell: Tell) -> Made:
    target = volume.path(draft.file)
    place.claim(target)
    manifest = draft.manifest()
    try:
        sha256, size = _pack(draft, manifest, place.folder, target, tell)
    except FileExistsError as error:
        raise ConsoleError(f"there is a backup {draft.file} already") from error
    except OSError as error:
        _remove(target)
        raise volume.failure(error) from error
    return _check(Made(draft.file, size, manifest), sha256, volume, tell)


def _pack(
    draft: _Draft, manifest: Manifest, folder: Path, target: Path, tell: Tell
) -> tuple[str, int]:
    """Write the one file; its hash and its size."""
    files = [
        (held.metadata_file, held.metadata, metadata_path(folder, number))
        for number, held in enumerate(manifest.collections)
    ]
    files += [
        (held.data_file, held.packed, data_path(folder, number))
        for number, held in enumerate(manifest.collections)
    ]
    meter = Meter("writing to the volume", sum(size for _, size, _ in files), tell)
    with create(target) as file:
        writer = Writer(file)
        made = manifest.time
        writer.add_bytes(MANIFEST, manifest.as_bytes(), made)
        if manifest.identity:
            writer.add_bytes(IDENTITY, draft.identity, made)
        for name, size, path in files:
            with path.open("rb") as source:
                writer.add(name, size, source, made)
            meter.add(size)
        writer.close()
        file.flush()
        fsync(file.fileno())
    return writer.sha256, writer.size


def _check(made: Made, sha256: str, volume: Volume, tell: Tell) -> Made:
    """Read the file back, seal it, and delete what it replaces."""
    target = volume.path(made.file)
    try:
        _read_back(target, sha256, tell)
        volume.seal(made.file, sha256)
    except OSError as error:
        _remove(target)
        raise volume.failure(error) from error
    except ConsoleError:
        _remove(target)
        raise
    if made.manifest.name in Kind.__members__.values():
        _prune(volume, made)
    return made


def _read_back(target: Path, sha256: str, tell: Tell) -> None:
    try:
        verify(target, tell, sha256=sha256)
    except Refused as error:
        if hash_of(target) == sha256:
            raise
        raise ConsoleError(
            f"the backup volume {target.parent} gave back other bytes than were "
            "written; look at its disk"
        ) from error


def _prune(volume: Volume, newest: Made) -> None:
    """Delete what *newest* replaces.

    A volume outlives its Console: what another has left there may be all that there is
    of it, and the name does not tell.
    """
    for old in volume.list():
        same_kind = old.name.name == newest.manifest.name
        if same_kind and old.name.file != newest.file and _is_ours(volume, old, newest):
            volume.delete(old.name.file)


def _is_ours(volume: Volume, old: Stored, ours: Made) -> bool:
    """Whether the Console that made *ours* made *old*, too; in doubt it did not."""
    try:
        found = read_manifest(volume.path(old.name.file))
    except Refused:
        return False
    return found.authority == ours.manifest.authority


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
