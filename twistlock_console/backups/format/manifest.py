"""What a backup says it holds, and whether it may be restored here. Pure."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from twistlock_console.backups.format.collections import is_kept
from twistlock_console.common.errors import Refused

MANIFEST = "manifest.json"
IDENTITY = "identity.json"
FORMAT = 1
MOST_COLLECTIONS = 1000

Size = Annotated[int, Field(ge=0, le=2**50)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class Held:
    """One collection: its documents, their bytes as BSON, and the hash of those.

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
        """Where its documents lie, as ``mongodump --gzip`` puts them."""
        return f"dump/twistlock/{quote(self.name, safe='')}.bson.gz"

    @property
    def metadata_file(self) -> str:
        """Where its options and indexes lie."""
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
    collections: Annotated[tuple[Held, ...], Field(max_length=MOST_COLLECTIONS)]
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all documents."""
        return sum(held.bytes for held in self.collections)

    @property
    def files(self) -> dict[str, int | None]:
        """The files that must follow it, with their sizes where it knows them."""
        found: dict[str, int | None] = {IDENTITY: None} if self.identity else {}
        for held in self.collections:
            found |= {held.metadata_file: held.metadata, held.data_file: held.packed}
        return found

    def as_bytes(self) -> bytes:
        """Write it as JSON."""
        return _ADAPTER.dump_json(self, indent=2)

    @staticmethod
    def from_bytes(text: bytes) -> "Manifest":
        """Read it; raises Refused if it is damaged or of another format.

        So it does if a restore of it would replace what is the cluster's own.
        """
        try:
            found = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise Refused("its manifest is damaged or of another format") from error
        if found.format != FORMAT or len(found.files) < 2 * len(found.collections):
            raise Refused("its manifest is damaged or of another format")
        for held in found.collections:
            if not is_kept(held.name):
                raise Refused(
                    f"it holds {held.name!r}, which is the cluster's own and is in no "
                    "backup that a Console made"
                )
        return found


_ADAPTER = TypeAdapter(Manifest)


def why_not_here(manifest: Manifest, version: str, free_bytes: int) -> str | None:
    """Say why a Console of *version* cannot restore it; None if it can.

    *free_bytes* is the room for the database.
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
