"""Attacks on the Defenders' port, with a certificate and without."""

import asyncio
import os
import ssl
import struct
from contextlib import suppress
from pathlib import Path

from tests.hostile.attacker import BROKEN, Attack, Attacker, Streams, wait_closed
from tests.hostile.management_attacks import silent_tcp

PORT = 8084
PIECE_EVERY_S = 4.0
FRAME_BYTES = 1_900_000
PIECE = b"x" * 1024
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: console\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)

silent = silent_tcp(1000, PORT)


async def without_certificate(attacker: Attacker) -> None:
    """100 TLS handshakes that show no certificate."""

    async def one() -> str:
        return await _hold(attacker, attacker.tls, UPGRADE + b"\r\n")

    await attacker.keep("8084 without certificate", 100, one)


async def unfinished_heads(attacker: Attacker) -> None:
    """100 websocket handshakes that never end, with a certificate."""
    tls = attacker.tls_as_defender()

    async def one() -> str:
        return await _hold(attacker, tls, UPGRADE + b"X-Slow: ")

    await attacker.keep("8084 unfinished head", 100, one)


def unfinished_frames(count: int, papers: Path | None = None) -> Attack:
    """Return the attack of *count* connections with one certificate (B2, B3).

    Each sends most of a frame of 1.9 MB, before any hello, and never its end.
    *papers* holds another certificate than the attacker's own.
    """
    name = f"8084 frame of {papers.name}" if papers else "8084 unfinished frame"

    async def attack(attacker: Attacker) -> None:
        tls = attacker.tls_as_defender(papers)
        start = struct.pack("!BBQ4s", 0x81, 0x80 | 127, FRAME_BYTES, os.urandom(4))

        async def one() -> str:
            first = UPGRADE + b"\r\n" + start + b"x" * (FRAME_BYTES // 2)
            return await _hold(attacker, tls, first)

        await attacker.keep(name, count, one)

    return attack


async def _hold(attacker: Attacker, tls: ssl.SSLContext, first: bytes) -> str:
    """Send *first*, then a little now and then; return how it ended."""
    streams = await attacker.open(PORT, tls)
    try:
        greeted = asyncio.ensure_future(_greeting(streams))
        with suppress(*BROKEN):
            await streams.send(first)
            while not greeted.done() or not streams.reader.at_eof():
                await asyncio.wait([greeted], timeout=PIECE_EVERY_S)
                await streams.send(PIECE)
        return await greeted
    finally:
        streams.close()


async def _greeting(streams: Streams) -> str:
    """Return whether the Console greeted us before it closed."""
    received = b""
    with suppress(*BROKEN):
        while b'"epoch"' not in received and len(received) < 16_384:
            more = await streams.reader.read(4096)
            if not more:
                break
            received += more
        outcome = "greeted" if b'"epoch"' in received else "not greeted"
        await wait_closed(streams)
        return outcome
    return "greeted" if b'"epoch"' in received else "not greeted"
