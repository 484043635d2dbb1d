"""Split and count the documents of a BSON file, in which one follows the other."""

from collections.abc import Iterable, Iterator
from struct import Struct

from twistlock_console.common.errors import Refused

MAX_DOCUMENT_BYTES = 16 * 1024**2 + 16 * 1024
_LENGTH = Struct("<i")


def split(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the documents of a stream, those of each chunk together.

    Raises Refused if the bytes are not documents.
    """
    held = b""
    for chunk in chunks:
        held += chunk
        documents, used = _documents(held)
        held = held[used:]
        yield documents
    if held:
        raise Refused("it ends in the middle of a document")


class DocumentCounter:
    """Counts the documents of a stream without copying; chunks may end anywhere."""

    def __init__(self) -> None:
        self.documents = 0
        self._begins = 0
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Count the next *chunk*; raises Refused if the bytes are not documents."""
        data = self._held + chunk if self._held else chunk
        at, end = self._begins, len(data)
        while end - at >= _LENGTH.size:
            at += _length(data, at)
            self.documents += 1
        self._begins = max(0, at - end)
        self._held = data[at:]

    def close(self) -> None:
        """Raise Refused unless the stream ended where a document does."""
        if self._begins or self._held:
            raise Refused("it ends in the middle of a document")


def count(chunk: bytes) -> int:
    """Count the documents in *chunk*; raises Refused if one is incomplete."""
    counting = DocumentCounter()
    counting.feed(chunk)
    counting.close()
    return counting.documents


def _documents(data: bytes) -> tuple[list[bytes], int]:
    found, at, end = [], 0, len(data)
    while end - at >= 4:
        length = _length(data, at)
        if at + length > end:
            break
        found.append(data[at : at + length])
        at += length
    return found, at


def _length(data: bytes, at: int) -> int:
    length: int = _LENGTH.unpack_from(data, at)[0]
    if not 5 <= length <= MAX_DOCUMENT_BYTES:
        raise Refused("it holds bytes that are no documents")
    return length
