"""The smallest asynchronous HTTPS client that can time its own answers."""

import asyncio
import ssl
from pathlib import Path
from typing import Self

PORT = 8083
DEFENDER_PORT = 8084
# Whoever answers late is not waited for.
NEXT_ADDRESS = 0.1


def trusting(folder: Path) -> ssl.SSLContext:
    """Trust the authority whose ca.pem is in *folder*."""
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def as_defender(folder: Path) -> ssl.SSLContext:
    """The same, and show the Defender's certificate that is there."""
    context = trusting(folder)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


class Connection:
    """One open TLS connection to the API at *address*; a `with` block closes it.

    Its methods raise OSError when it breaks.
    """

    def __init__(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.address = address
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str, context: ssl.SSLContext) -> Self:
        """Connect and shake hands; of a name, try each address that it has."""
        streams = await asyncio.open_connection(
            address, PORT, ssl=context, happy_eyeballs_delay=NEXT_ADDRESS
        )
        return cls(address, *streams)

    def close(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def ask(self, method: str, path: str, token: str = "", body: str = "") -> int:
        """Send one request and read all of its answer; gives the status."""
        lines = [
            f"{method} /api/v1{path} HTTP/1.1",
            f"Host: {self.address}:{PORT}",
            f"Content-Length: {len(body)}",
            *([f"Authorization: Bearer {token}"] if token else []),
            *(["Content-Type: application/json"] if body else []),
        ]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            await self._reader.readexactly(_length(head))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the answer was cut short") from error
        return int(head.split(b" ", 2)[1])


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
