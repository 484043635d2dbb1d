"""A file that is hashed while it is read."""

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO, cast

from twistlock_console.common.errors import Refused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Hashed(io.RawIOBase):
    """Reads *file*, and hashes what it reads."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = cast(io.BufferedReader, file)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill *buffer*; gives how far."""
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        return count

    def must_be(self, sha256: str | None) -> None:
        """Raise Refused if what was read so far has another hash, if one is known."""
        if sha256 is not None and self._hash.hexdigest() != sha256:
            raise Refused("it was changed since it was made")
