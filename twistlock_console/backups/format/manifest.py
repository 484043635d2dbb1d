"""Names and manifests of backups, and whether one may be restored here. Pure.

The file is called ``{name}-{version}-{unix time}.tar.gz``. Its first member is the
manifest, which describes each collection of the backup.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Self
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from twistlock_console import plugins
from twistlock_console.common.errors import Refused
from twistlock_console.names import name_key

ENDING = ".tar.gz"
#: Written beside a backup when it has been verified, as ``sha256sum`` writes it.
SEAL = ".sha256"
MAX_FILE_NAME = 255
#: The last second of the year 9999: a later time is no date.
MAX_TIME = 253_402_300_799

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_STEM = (
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63})-(?P<version>[0-9][0-9A-Za-z.+]{0,31})"
    r"-(?P<time>[0-9]{1,12})"
)
_FILE = re.compile(_STEM + r"\.tar\.gz")
#: A name that a browser or a person changed: "nightly-26.11.0-1795478400 (1).tar.gz".
_ALTERED = re.compile(r"(?:.*[^A-Za-z0-9_.+-])?" + _STEM + r"(?![0-9]).*", re.DOTALL)

#: Patterns of collections about this cluster itself: lease, members, ended sessions. A
#: restore leaves them as they are.
EXCLUDED_COLLECTIONS = (
    "lease",
    "revoked_sessions",
    "login_failures",
    "backup_*",
    "restoring.*",
    "system.*",
)
#: A restore merges these collections and removes nothing, in this order: accounts come
#: after the revocations, which list the deleted accounts.
MERGED_COLLECTIONS = (
    "revocations",
    "revoked_certificates",  # of a release before
    "renewed_certificates",
    "enrolled_defenders",
    "users",
)
#: Not in a new backup, and ignored in an older one: tokens that are valid for a day,
#: and commands that were executed long ago.
IGNORED_COLLECTIONS = frozenset({"deploy_tokens", "defender_orders"})
TEMPORARY = "restoring"

MANIFEST = "manifest.json"
IDENTITY = "identity.json"
FORMAT = 1
MAX_COLLECTIONS = 1000

Size = Annotated[int, Field(ge=0, le=2**50)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=200)]


class BackupKind(StrEnum):
    """The kinds of scheduled backups; the values are the names of their files."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class BackupName:
    """The parts of a file name: the given *name*, the *version*, the Unix *time*."""

    name: str
    version: str
    time: int

    @property
    def file(self) -> str:
        """Return the name of the file."""
        return f"{self.name}-{self.version}-{self.time}{ENDING}"

    @property
    def made(self) -> datetime:
        """Return when the backup was made."""
        return datetime.fromtimestamp(self.time, UTC)

    @property
    def is_system(self) -> bool:
        """Return whether it is a scheduled backup."""
        return self.name in BackupKind.__members__.values()

    @classmethod
    def parse(cls, file: str) -> Self | None:
        """Parse a file name; return None if it is not that of a backup."""
        found = _FILE.fullmatch(file)
        if found is None or int(found["time"]) > MAX_TIME:
            return None
        return cls(found["name"], found["version"], int(found["time"]))

    @classmethod
    def of(cls, file: str) -> Self:
        """Parse a file name; raises Refused if it is not that of a backup."""
        if (found := cls.parse(file)) is None:
            raise Refused(
                f"{file[:100]!r} is not the name of a backup; a valid name is "
                "before-upgrade-26.11.0-1795478400.tar.gz"
            )
        return found

    @classmethod
    def of_content(cls, file: str, name: str, version: str, time: int) -> Self:
        """Return the name of a backup by its content; *file* is its present name.

        Only the given name is taken from *file*, if it contains one, since a backup may
        have been renamed. Otherwise *name* is used. Raises Refused if the result is not
        a valid name.
        """
        found = _ALTERED.fullmatch(file[:MAX_FILE_NAME])
        return cls.of(cls(found["name"] if found else name, version, time).file)


def check_name(name: str) -> str:
    """Return *name* if a user may give it to a backup; raises Refused."""
    if not _NAME.fullmatch(name):
        raise Refused(
            "give the backup a name of up to 64 letters, digits, - and _, which "
            "begins with a letter or a digit"
        )
    if name_key(name) in BackupKind.__members__.values():
        raise Refused(
            f"{name} is what the Console calls its own backups; choose another"
        )
    return name


def is_allowed(collection: str) -> bool:
    """Return whether a backup may hold *collection*."""
    return not any(fnmatchcase(collection, pattern) for pattern in excluded_patterns())


def excluded_patterns() -> tuple[str, ...]:
    """Return the patterns of excluded collections, those of plugins included."""
    added = (p for plugin in plugins.installed() for p in plugin.backup_exclusions)
    return (*EXCLUDED_COLLECTIONS, *added)


def is_dumped(collection: str) -> bool:
    """Return whether a new backup holds *collection*."""
    return is_allowed(collection) and collection not in IGNORED_COLLECTIONS


def is_replaced(collection: str) -> bool:
    """Return whether a restore replaces our *collection* with the backup's."""
    return is_dumped(collection) and collection not in MERGED_COLLECTIONS


def temporary(run: str, collection: str) -> str:
    """Return the name under which the restore *run* loads *collection*."""
    return f"{TEMPORARY}.{run}.{collection}"


def is_leftover(collection: str, run: str | None) -> bool:
    """Return whether *collection* was loaded by another restore than *run*."""
    if not collection.startswith(f"{TEMPORARY}."):
        return False
    return run is None or not collection.startswith(f"{TEMPORARY}.{run}.")


@dataclass(frozen=True, slots=True)
class CollectionEntry:
    """One collection: the number of documents, their bytes as BSON, and their hash.

    *packed* and *metadata* are the sizes of its two files in the backup;
    *metadata_sha256* is the hash of its options and indexes, unpacked.
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    documents: Size
    bytes: Size
    sha256: Hash
    packed: Size
    metadata: Size
    metadata_sha256: Hash

    @property
    def data_file(self) -> str:
        """Return the path of its documents, the same as in ``mongodump --gzip``."""
        return f"dump/twistlock/{quote(self.name, safe='')}.bson.gz"

    @property
    def metadata_file(self) -> str:
        """Return the path of its options and indexes."""
        return f"dump/twistlock/{quote(self.name, safe='')}.metadata.json.gz"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The first file of a backup.

    *authority* is the fingerprint of the certificate authority of the Console that
    made it; *identity* says whether that authority's key is in it, encrypted.
    """

    name: Text
    version: Text
    time: Size
    epoch: Size
    cluster_time: Text
    authority: Text
    identity: bool
    collections: Annotated[
        tuple[CollectionEntry, ...], Field(max_length=MAX_COLLECTIONS)
    ]
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Return the bytes of all documents."""
        return sum(held.bytes for held in self.collections)

    @property
    def files(self) -> dict[str, int | None]:
        """Return the files that must follow the manifest, with their sizes if known."""
        found: dict[str, int | None] = {IDENTITY: None} if self.identity else {}
        for held in self.collections:
            found |= {held.metadata_file: held.metadata, held.data_file: held.packed}
        return found

    def as_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        return _ADAPTER.dump_json(self, indent=2)

    @staticmethod
    def from_bytes(text: bytes) -> "Manifest":
        """Parse a manifest.

        Raises:
            Refused: It is damaged, of another format, or names a collection of the
                cluster itself, which a restore would replace.

        """
        try:
            found = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise Refused("its manifest is damaged or of another format") from error
        if found.format != FORMAT or len(found.files) < 2 * len(found.collections):
            raise Refused("its manifest is damaged or of another format")
        for held in found.collections:
            if not is_allowed(held.name):
                raise Refused(
                    f"it holds {held.name!r}, which is the cluster's own and is in no "
                    "backup that a Console made"
                )
        return found


_ADAPTER = TypeAdapter(Manifest)


def restore_refusal(manifest: Manifest, version: str, free_bytes: int) -> str | None:
    """Return why a Console of *version* cannot restore the backup; None if it can.

    *free_bytes* is the free space for the database.
    """
    if manifest.version != version:
        return (
            f"this backup was made by version {manifest.version}, and this Console is "
            f"{version}; install version {manifest.version}, restore there, and "
            "upgrade afterwards"
        )
    if manifest.size > free_bytes:
        return (
            f"the backup needs {_megabytes(manifest.size)} MB for the database, and "
            f"{_megabytes(free_bytes)} MB are free in DATA_FOLDER; make room there"
        )
    return None


def _megabytes(size: int) -> int:
    return -(-size // 1024**2)
