"""The file of a backup: a tar inside gzip, written once from front to back.

Its members are compressed already, so the outer gzip only frames and checks them. It
is read with a reader of our own, which knows plain files alone: what a damaged or
hostile file could hold besides is refused, and nothing is ever unpacked to a disk.
"""

import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from twistlock_console.backups.format.hashing_reader import Hashed
from twistlock_console.backups.format.manifest import MANIFEST, Manifest
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import Refused

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1024**2
LEVEL = 1
LARGEST_TEXT = 4 * 1024**2
#: A backup hardly shrinks in the outer gzip; what grows by more than this is a bomb.
MOST_GROWTH = 4
DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    UnicodeError,
    cast(type[Exception], isal_zlib.error),
)


def quick_gzip(file: BinaryIO, mode: str) -> BinaryIO:
    """Read or write gzip through *file*, several times as fast as with zlib."""
    untyped = cast(Any, igzip)
    return cast(BinaryIO, untyped.GzipFile("", mode, LEVEL, file, mtime=0))


class Entry:
    """A file in a backup: its *name*, its *size*, and its bytes, to be read once."""

    def __init__(self, name: str, size: int, source: "Source") -> None:
        self.name = name
        self.size = size
        self._source = source
        self._left = size

    def chunks(self) -> Iterator[bytes]:
        """The bytes, some at a time."""
        while self._left:
            chunk = self._source.exactly(min(self._left, CHUNK))
            self._left -= len(chunk)
            yield chunk

    def read(self) -> bytes:
        """All bytes of a small file; raises Refused if it is not small."""
        if self.size > LARGEST_TEXT:
            raise Refused(f"{self.name} in it is far too large")
        return b"".join(self.chunks())

    def skip(self) -> None:
        """Pass over what was not read, and over the padding."""
        for _ in self.chunks():
            pass
        self._source.exactly(-self.size % BLOCK)


class Source:
    """What the outer gzip holds, with a bound on how much that may be."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = MOST_GROWTH * size + CHUNK

    def read(self, size: int) -> bytes:
        """At most *size* bytes, b"" at the end; raises Refused."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Refused("it grows without end when it is unpacked")
        return data

    def exactly(self, size: int) -> bytes:
        """*size* bytes; raises Refused if there are fewer."""
        parts = []
        while size and (data := self.read(size)):
            parts.append(data)
            size -= len(data)
        if size:
            raise Refused("it ends too early")
        return b"".join(parts)


class Reader:
    """The manifest of an open backup, and then its entries in their order.

    *check* is called when all of it was read, before the entries end.
    """

    def __init__(self, source: Source, check: Callable[[], None]) -> None:
        self._source = source
        self._check = check
        first = self._next()
        if first is None or first.name != MANIFEST:
            raise Refused("it does not begin with a manifest")
        self.manifest = Manifest.from_bytes(first.read())
        first.skip()

    def entries(self) -> Iterator[Entry]:
        """Every file after the manifest; raises Refused unless they are as it says."""
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
        # To the end, where gzip keeps its check.
        while rest := self._source.read(CHUNK):
            if rest.strip(b"\0"):
                raise Refused("something follows its end")
        self._check()

    def _next(self) -> Entry | None:
        block = self._source.exactly(BLOCK)
        if not block.strip(b"\0"):
            return None
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise Refused(f"it holds {header.name[:100]!r}, which is no plain file")
        return Entry(header.name, header.size, self._source)


@contextmanager
def reading(path: Path, sha256: str | None = None) -> Iterator[Reader]:
    """Open the backup at *path*; what is wrong with it is raised as Refused.

    So is another hash of the whole file than *sha256*, at the end of its entries.
    """
    try:
        with path.open("rb") as raw:
            hashed = Hashed(raw)
            outer = raw if sha256 is None else cast(BinaryIO, hashed)
            with quick_gzip(outer, "rb") as file:
                source = Source(file, path.stat().st_size)
                yield Reader(source, partial(hashed.must_be, sha256))
    except FileNotFoundError as error:
        raise Refused(f"there is no backup {path.name}") from error
    except DAMAGE as error:
        raise Refused(f"{path.name} cannot be read: {_why(error)}") from error
    except Refused as error:
        raise Refused(f"{path.name} is no good backup: {error}") from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return describe_error(error)
    return "it is damaged, or no backup"


def unpacked(entry: Entry, limit: int) -> Iterator[bytes]:
    """The bytes that the gzipped *entry* holds, at most *limit*; raises Refused."""
    packer = isal_zlib.decompressobj(wbits=31)
    for chunk in entry.chunks():
        rest = chunk
        while rest:
            if packer.eof:
                raise Refused(f"{entry.name} in it is damaged")
            data = packer.decompress(rest, CHUNK)
            rest = packer.unconsumed_tail
            limit -= len(data)
            if limit < 0:
                raise Refused(f"{entry.name} in it holds more than its manifest says")
            yield data
    tail = packer.flush()
    if not packer.eof or packer.unused_data or len(tail) > limit:
        raise Refused(f"{entry.name} in it is damaged")
    yield tail
