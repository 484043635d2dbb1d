"""Write and read the file of a backup: a tar inside gzip.

It is written once, from front to back. Its members are compressed already, so the outer
gzip only frames and checks them. It is read with a reader of our own that accepts only
plain files: anything else in a damaged or hostile file is refused, and nothing is
unpacked to a disk.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from isal import igzip, isal_zlib

from twistlock_console.backups.format.bson_stream import count
from twistlock_console.backups.format.manifest import MANIFEST, Manifest
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import Refused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = tarfile.BLOCKSIZE
CHUNK_BYTES = 1024**2
COMPRESSION_LEVEL = 1
MAX_TEXT_BYTES = 4 * 1024**2
#: A backup hardly shrinks in the outer gzip; one that expands by more is a gzip bomb.
MAX_EXPANSION_RATIO = 4
DAMAGE_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    UnicodeError,
    cast(type[Exception], isal_zlib.error),
)


def quick_gzip(file: BinaryIO, mode: str) -> BinaryIO:
    """Read or write gzip through *file*, several times as fast as with zlib."""
    untyped: Any = igzip
    return cast(BinaryIO, untyped.GzipFile("", mode, COMPRESSION_LEVEL, file, mtime=0))


class CollectionPacker:
    """Counts, hashes and compresses batches on *thread*, while the next is read."""

    def __init__(self, target: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self._target = target
        self._thread = thread
        self._pending: Future[None] | None = None
        self._hash = hashlib.sha256()
        self.documents = 0
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash (hex) of all bytes that were put."""
        return self._hash.hexdigest()

    def put(self, batch: bytes) -> None:
        """Queue *batch*, after waiting for the previous one."""
        self.flush()
        self._pending = self._thread.submit(self._pack, batch)

    def flush(self) -> None:
        """Wait for the pending batch; raise the error of its packing."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _pack(self, batch: bytes) -> None:
        self.documents += count(batch)
        self.bytes += len(batch)
        self._hash.update(batch)
        self._target.write(batch)


@contextmanager
def packing(path: Path) -> Iterator[CollectionPacker]:
    """Pack the batches of one collection into a new file at *path*."""
    with (
        path.open("wb") as file,
        quick_gzip(file, "wb") as target,
        ThreadPoolExecutor(1, "packer") as thread,
    ):
        packer = CollectionPacker(target, thread)
        yield packer
        packer.flush()


class ArchiveWriter:
    """Writes a backup to *target*, and computes its hash and size."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0
        self._packer = gzip.GzipFile("", "wb", 0, self, mtime=0)

    @property
    def sha256(self) -> str:
        """Return the hash (hex) of the whole file; complete after ``close``."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Write *data*, the output of gzip; return its size."""
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        """Do nothing: no data is buffered here."""

    def add(self, name: str, size: int, source: BinaryIO, made: int) -> None:
        """Add *size* bytes of *source* as the file *name*, last changed at *made*."""
        header = tarfile.TarInfo(name)
        header.size, header.mtime, header.mode = size, made, 0o600
        self._packer.write(header.tobuf(tarfile.GNU_FORMAT))
        left = size
        while left and (chunk := source.read(min(left, CHUNK_BYTES))):
            self._packer.write(chunk)
            left -= len(chunk)
        if left:
            raise OSError(f"{name} became shorter while it was packed")
        self._packer.write(bytes(-size % BLOCK_BYTES))

    def add_bytes(self, name: str, data: bytes, made: int) -> None:
        """Add a small file."""
        self.add(name, len(data), io.BytesIO(data), made)

    def close(self) -> None:
        """Write the end of the tar and of the gzip."""
        self._packer.write(bytes(2 * BLOCK_BYTES))
        self._packer.close()


class BoundedSource:
    """Reads the content of the outer gzip, up to a limit that fits *size*."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = MAX_EXPANSION_RATIO * size + CHUNK_BYTES

    def read(self, size: int) -> bytes:
        """Return at most *size* bytes, b"" at the end; raises Refused."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Refused("it grows without end when it is unpacked")
        return data

    def exactly(self, size: int) -> bytes:
        """Return *size* bytes; raises Refused if there are fewer."""
        parts = []
        while size and (data := self.read(size)):
            parts.append(data)
            size -= len(data)
        if size:
            raise Refused("it ends too early")
        return b"".join(parts)


class ArchiveEntry:
    """A file in a backup: *name*, *size*, and bytes that can be read once."""

    def __init__(self, name: str, size: int, source: "BoundedSource") -> None:
        self.name = name
        self.size = size
        self._source = source
        self._left = size

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, some at a time."""
        while self._left:
            chunk = self._source.exactly(min(self._left, CHUNK_BYTES))
            self._left -= len(chunk)
            yield chunk

    def read(self) -> bytes:
        """Return all bytes of a file of up to MAX_TEXT_BYTES; raises Refused."""
        if self.size > MAX_TEXT_BYTES:
            raise Refused(f"{self.name} in it is far too large")
        return b"".join(self.chunks())

    def skip(self) -> None:
        """Skip the bytes that were not read, and the padding."""
        for _ in self.chunks():
            pass
        self._source.exactly(-self.size % BLOCK_BYTES)


class ArchiveReader:
    """Reads the manifest of an open backup, and then its entries in their order.

    *check* is called when everything was read, before the entries end.
    """

    def __init__(self, source: BoundedSource, check: Callable[[], None]) -> None:
        self._source = source
        self._check = check
        first = self._next()
        if first is None or first.name != MANIFEST:
            raise Refused("it does not begin with a manifest")
        self.manifest = Manifest.from_bytes(first.read())
        first.skip()

    def entries(self) -> Iterator[ArchiveEntry]:
        """Yield every file after the manifest; raises Refused if one is unexpected."""
        awaited = self.manifest.files
        while entry := self._next():
            if entry.name not in awaited:
                raise Refused(f"it holds {entry.name[:100]!r}, which does not belong")
            size = awaited.pop(entry.name)
            if size not in (None, entry.size):
                raise Refused(f"{entry.name} in it has another size than it should")
            yield entry
            entry.skip()
        if awaited:
            raise Refused(f"{next(iter(awaited))} is missing in it")
        # Read to the end: gzip has its checksum there.
        while rest := self._source.read(CHUNK_BYTES):
            if rest.strip(b"\0"):
                raise Refused("something follows its end")
        self._check()

    def _next(self) -> ArchiveEntry | None:
        block = self._source.exactly(BLOCK_BYTES)
        if not block.strip(b"\0"):
            return None
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise Refused(f"it holds {header.name[:100]!r}, which is no plain file")
        return ArchiveEntry(header.name, header.size, self._source)


class HashingReader(io.RawIOBase):
    """Reads *file* and hashes the bytes that it reads."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = cast(io.BufferedReader, file)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Return True: it is always readable."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill *buffer*; return the number of bytes."""
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        return count

    def check_hash(self, sha256: str | None) -> None:
        """Raise Refused if *sha256* is known and is not that of the bytes read."""
        if sha256 is not None and self._hash.hexdigest() != sha256:
            raise Refused("it was changed since it was made")


@contextmanager
def open_archive(path: Path, sha256: str | None = None) -> Iterator[ArchiveReader]:
    """Open the backup at *path*.

    Args:
        path: The file.
        sha256: The hash (hex) that the whole file must have; compared after the last
            entry was read.

    Raises:
        Refused: The backup is missing, damaged or invalid; with the reason.

    """
    try:
        with path.open("rb") as raw:
            hashed = HashingReader(raw)
            outer = raw if sha256 is None else cast(BinaryIO, hashed)
            with quick_gzip(outer, "rb") as file:
                source = BoundedSource(file, path.stat().st_size)
                yield ArchiveReader(source, partial(hashed.check_hash, sha256))
    except FileNotFoundError as error:
        raise Refused(f"there is no backup {path.name}") from error
    except DAMAGE_ERRORS as error:
        raise Refused(f"{path.name} cannot be read: {_reason(error)}") from error
    except Refused as error:
        raise Refused(f"invalid backup {path.name}: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return describe_error(error)
    return "it is damaged, or not a backup"


def unpacked(entry: ArchiveEntry, limit: int) -> Iterator[bytes]:
    """Yield the unpacked bytes of the gzipped *entry*; raises Refused above *limit*."""
    packer = isal_zlib.decompressobj(wbits=31)
    for chunk in entry.chunks():
        rest = chunk
        while rest:
            if packer.eof:
                raise Refused(f"{entry.name} in it is damaged")
            data = packer.decompress(rest, CHUNK_BYTES)
            rest = packer.unconsumed_tail
            limit -= len(data)
            if limit < 0:
                raise Refused(f"{entry.name} in it holds more than its manifest says")
            yield data
    tail = packer.flush()
    if not packer.eof or packer.unused_data or len(tail) > limit:
        raise Refused(f"{entry.name} in it is damaged")
    yield tail
