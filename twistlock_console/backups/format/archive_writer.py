"""Writes the file of a backup once, from front to back."""

import gzip
import hashlib
import io
import tarfile
from typing import BinaryIO

from twistlock_console.backups.format.archive import BLOCK, CHUNK


class Writer:
    """Writes a backup to *target*, and knows the hash and size of what was written."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0
        self._packer = gzip.GzipFile("", "wb", 0, self, mtime=0)

    @property
    def sha256(self) -> str:
        """The hash of the whole file, once it is closed."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Take what gzip made."""
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def add(self, name: str, size: int, source: BinaryIO, made: int) -> None:
        """Add *size* bytes of *source* as the file *name*, last changed at *made*."""
        header = tarfile.TarInfo(name)
        header.size, header.mtime, header.mode = size, made, 0o600
        self._packer.write(header.tobuf(tarfile.GNU_FORMAT))
        left = size
        while left and (chunk := source.read(min(left, CHUNK))):
            self._packer.write(chunk)
            left -= len(chunk)
        if left:
            raise OSError(f"{name} became shorter while it was packed")
        self._packer.write(bytes(-size % BLOCK))

    def add_bytes(self, name: str, data: bytes, made: int) -> None:
        """Add a small file."""
        self.add(name, len(data), io.BytesIO(data), made)

    def close(self) -> None:
        """Write the end of the tar and of the gzip."""
        self._packer.write(bytes(2 * BLOCK))
        self._packer.close()
