"""Backups: the file, its manifest and documents, file names, seals and sealed keys.

An input for the archive is what gzip holds: the tar, whose header checksums are mended
so that changes get past them.
"""

import gzip
import hashlib
import io
import tarfile
from functools import cache
from pathlib import Path

import bson

from tests.fuzz.parsers import Parser, allowed, scratch_folder, text_of
from twistlock_console.backups.format.archive import (
    ArchiveWriter,
    open_archive,
    quick_gzip,
)
from twistlock_console.backups.format.bson_stream import DocumentCounter, count, split
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    MANIFEST,
    BackupName,
    CollectionEntry,
    Manifest,
    check_name,
)
from twistlock_console.backups.operations.identity import seal, unseal
from twistlock_console.backups.storage.volume import Volume, verify
from twistlock_console.common.errors import ConsoleError, Refused

TIME = 1_795_478_400
METADATA = b'{"options": {}, "indexes": [{"v": 2, "key": {"_id": 1}, "name": "_id_"}]}'
DOCUMENTS = b"".join(
    bson.encode({"_id": number, "words": ["a", "b"], "at": 1.5}) for number in range(3)
)
CHECKSUM = slice(148, 156)
PASSPHRASE = b"correct horse battery"
WHOLE = 0
#: The first byte of an archive says what its bytes are; the rest is them.
PACKED = 1


@cache
def folder() -> Path:
    """Return a folder for the files of this process."""
    return scratch_folder()


def _packed(data: bytes) -> bytes:
    written = io.BytesIO()
    with quick_gzip(written, "wb") as packer:  # type: ignore[arg-type]
        packer.write(data)
    return written.getvalue()


def _backup(
    documents: bytes = DOCUMENTS, metadata: bytes = METADATA, *, identity: bool = True
) -> bytes:
    """Return a backup of one collection, with the hashes of what is in it."""
    parts = _packed(documents), _packed(metadata)
    hashes = [hashlib.sha256(part).hexdigest() for part in (documents, metadata)]
    sizes = len(parts[0]), len(parts[1])
    entry = CollectionEntry(
        "audits", 3, len(documents), hashes[0], sizes[0], sizes[1], hashes[1]
    )
    manifest = Manifest(
        "nightly", "26.11.0", TIME, 7, "1:2", "AB:CD", identity, (entry,)
    )
    written = io.BytesIO()
    writer = ArchiveWriter(written)
    writer.add_bytes(MANIFEST, manifest.as_bytes(), TIME)
    if identity:
        writer.add_bytes(IDENTITY, b"{}", TIME)
    writer.add_bytes(entry.metadata_file, parts[1], TIME)
    writer.add_bytes(entry.data_file, parts[0], TIME)
    writer.close()
    return written.getvalue()


def check_archive(data: bytes) -> None:
    """Verify an uploaded backup as the Console does, and read only its manifest."""
    packed, content = data[:1] == bytes([PACKED]), data[1:]
    if packed:
        content = gzip.compress(mend_checksums(content), 1, mtime=0)
    path = folder() / "nightly-26.11.0-1795478400.tar.gz"
    path.write_bytes(content)
    with allowed(ConsoleError):
        verify(path, lambda _: None, decode=True)
    with allowed(ConsoleError):
        verify(path, lambda _: None, sha256=hashlib.sha256(content).hexdigest())
    with allowed(ConsoleError), open_archive(path) as reader:
        assert Manifest.from_bytes(reader.manifest.as_bytes()) == reader.manifest


def check_content(data: bytes) -> None:
    """Verify a backup whose hashes are right, with any documents or any indexes."""
    made = _backup(data[1:]) if data[:1] == b"\0" else _backup(metadata=data[1:])
    path = folder() / "nightly-26.11.0-1795478400.tar.gz"
    path.write_bytes(made)
    with allowed(ConsoleError):
        verify(path, lambda _: None, decode=True)


def mend_checksums(tar: bytes) -> bytes:
    """Return *tar* with the right checksum in each block that is a header."""
    mended = bytearray(tar)
    for at in range(0, len(tar) - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
        block = mended[at : at + tarfile.BLOCKSIZE]
        if block[257:262] == b"ustar":
            block[CHECKSUM] = b" " * 8
            block[CHECKSUM] = b"%06o\0 " % sum(block)
            mended[at : at + tarfile.BLOCKSIZE] = block
    return bytes(mended)


def check_manifest(data: bytes) -> None:
    """Read a manifest; what was read is written so that it reads again."""
    with allowed(Refused):
        found = Manifest.from_bytes(data)
        assert Manifest.from_bytes(found.as_bytes()) == found
        assert len(found.files) == 2 * len(found.collections) + found.identity
        with allowed(Refused):
            assert BackupName.of_content("x", found.name, found.version, found.time)


def check_file_name(data: bytes) -> None:
    """Read a file name; a name is that of a backup with a time, or it is none."""
    text = text_of(data)
    if found := BackupName.parse(text):
        assert (found.file, BackupName.parse(found.file)) == (text, found)
        assert found.made.timestamp() == found.time
        assert found.is_system in (True, False)
    with allowed(Refused):
        BackupName.of(text)
    with allowed(Refused):
        check_name(text)
    with allowed(Refused):
        assert BackupName.of_content(text, "daily", "1.0", TIME).time == TIME


def check_documents(data: bytes) -> None:
    """Split and count documents, in whatever pieces they arrive."""
    width = data[0] + 1 if data else 1
    pieces = [data[at : at + width] for at in range(1, len(data), width)]
    counting, found = DocumentCounter(), None
    with allowed(Refused):
        documents = [one for part in split(pieces) for one in part]
        assert b"".join(documents) == data[1:]
        found = len(documents)
    with allowed(Refused):
        for piece in pieces:
            counting.feed(piece)
        counting.close()
        assert counting.documents == found
    with allowed(Refused):
        assert count(data[1:]) == found


def check_seal(data: bytes) -> None:
    """Read the seal beside a backup."""
    name = "sealed-26.11.0-1795478400.tar.gz"
    volume = Volume(folder())
    (folder() / f"{name}.sha256").write_bytes(data)
    with allowed(ConsoleError):
        volume.sealed_hash(name)


def check_identity(data: bytes) -> None:
    """Decrypt the sealed keys of a backup."""
    with allowed(Refused):
        unseal(data, PASSPHRASE)


SEALED = seal({"ca.pem": "pem"}, PASSPHRASE).replace(b"32768", b"16384")
GOOD = _backup()
PLAIN = _backup(identity=False)
MANIFEST_BYTES = gzip.decompress(GOOD)[tarfile.BLOCKSIZE :].partition(b"\0")[0]

PARSERS = (
    Parser(
        "archive",
        check_archive,
        (
            bytes([WHOLE]) + GOOD,
            bytes([WHOLE]) + GOOD[:-9],
            bytes([PACKED]) + gzip.decompress(GOOD),
            bytes([PACKED]) + gzip.decompress(PLAIN),
            bytes([PACKED]) + gzip.decompress(PLAIN)[:1024],
        ),
    ),
    Parser("content", check_content, (b"\0" + DOCUMENTS, b"\1" + METADATA)),
    Parser("manifest", check_manifest, (MANIFEST_BYTES, b"{}"), is_json=True),
    Parser(
        "file name",
        check_file_name,
        (
            b"nightly-26.11.0-1795478400.tar.gz",
            b"nightly-26.11.0-1795478400 (1).tar.gz",
            b"a-0-0.tar.gz",
            b"a-0-999999999999.tar.gz",
        ),
    ),
    Parser("documents", check_documents, (b"\x07" + DOCUMENTS, b"\x00\x05\0\0\0\0")),
    Parser(
        "seal", check_seal, (b"ab" * 32 + b"  nightly-26.11.0-1795478400.tar.gz\n",)
    ),
    Parser("identity", check_identity, (SEALED,), is_json=True, is_costly=True),
)
