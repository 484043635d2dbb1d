"""Attacks on the port of pages and API: slow, silent, and too many logins."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.hostile.attacker import BROKEN, Attack, Attacker, Streams, wait_closed
from tests.hosts.console_api import PASSWORD, USERNAME

PORT = 8083
BYTE_EVERY_S = 4.0
READ_EVERY_S = 2.0
#: So that a download fills no more than this of our kernel.
SMALL_BUFFER = 4096
HEAD = "{method} {path} HTTP/1.1\r\nHost: console\r\n{more}\r\n"
LOGIN = "/api/v1/authenticate"


def head(method: str, path: str, **fields: str) -> bytes:
    """Return the head of a request; in *fields*, `_` stands for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return HEAD.format(method=method, path=path, more="".join(lines)).encode()


async def status_of(streams: Streams) -> str:
    """Return the status of the answer that comes, or "cut"."""
    try:
        line = await streams.reader.readuntil(b"\r\n")
    except BROKEN:
        return "cut"
    return line.split(b" ")[1].decode(errors="replace")


@asynccontextmanager
async def opened(
    attacker: Attacker, *, spread: bool = False, receive_bytes: int = 0
) -> AsyncIterator[Streams]:
    """Open one TLS connection, closed at the end of the context."""
    streams = await attacker.open(
        PORT, attacker.tls, spread=spread, receive_bytes=receive_bytes
    )
    try:
        yield streams
    finally:
        streams.close()


async def _dribble(attacker: Attacker, first: bytes, piece: bytes) -> str:
    """Send *first*, then a *piece* every few seconds, until there is an answer."""
    async with opened(attacker) as streams:
        await streams.send(first)
        answer = asyncio.ensure_future(status_of(streams))
        try:
            while not answer.done():
                await asyncio.wait([answer], timeout=BYTE_EVERY_S)
                if not answer.done():
                    await streams.send(piece)
            return answer.result()
        finally:
            answer.cancel()


async def slow_bodies(attacker: Attacker) -> None:
    """20 bodies of 300,000 bytes that come a byte at a time (A1)."""
    first = head(
        "POST", LOGIN, Content_Type="application/json", Content_Length="300000"
    )
    await attacker.keep("slow body", 20, lambda: _dribble(attacker, first + b"{", b" "))


async def slow_chunks(attacker: Attacker) -> None:
    """40 bodies in chunks of one byte (A1)."""
    kind = "application/json"
    first = head("POST", LOGIN, Content_Type=kind, Transfer_Encoding="chunked")
    first += b"1\r\n{\r\n"
    piece = b"1\r\n \r\n"
    await attacker.keep("slow chunks", 40, lambda: _dribble(attacker, first, piece))


async def slow_heads(attacker: Attacker) -> None:
    """40 requests whose head never ends."""
    first = head("GET", "/login")[:-2] + b"X-Slow: "
    await attacker.keep("slow head", 40, lambda: _dribble(attacker, first, b"a"))


def silent_tcp(count: int, port: int = PORT) -> Attack:
    """Return the attack of *count* TCP connections that send nothing (A2)."""

    async def attack(attacker: Attacker) -> None:
        async def one() -> str:
            streams = await attacker.open(port)
            attacker.counts[f"silent TCP {port}: opened"] += 1
            try:
                await wait_closed(streams)
            finally:
                streams.close()
            return "closed"

        await attacker.keep(f"silent TCP {port}", count, one)

    return attack


async def silent_tls(attacker: Attacker) -> None:
    """300 TLS connections that send no request (A2)."""

    async def one() -> str:
        async with opened(attacker) as streams:
            await wait_closed(streams)
        return "closed"

    await attacker.keep("silent TLS", 300, one)


async def _log_in(
    attacker: Attacker, username: str, password: str, *, spread: bool
) -> str:
    body = json.dumps({"username": username, "password": password}).encode()
    kind, length = "application/json", str(len(body))
    async with opened(attacker, spread=spread) as streams:
        sent = head("POST", LOGIN, Content_Type=kind, Content_Length=length)
        await streams.send(sent + body)
        return await status_of(streams)


async def unknown_logins(attacker: Attacker) -> None:
    """200 parallel logins of users that do not exist, from all sources (A3)."""
    await attacker.keep(
        "unknown login",
        200,
        lambda: _log_in(
            attacker, f"nobody-{secrets.token_hex(4)}", "wrong", spread=True
        ),
    )


async def right_logins(attacker: Attacker) -> None:
    """100 parallel logins with the right password (A4)."""
    await attacker.keep(
        "right login", 100, lambda: _log_in(attacker, USERNAME, PASSWORD, spread=False)
    )


async def basic_logins(attacker: Attacker) -> None:
    """100 parallel API calls with HTTP Basic of users that do not exist."""

    async def one() -> str:
        account = f"nobody-{secrets.token_hex(4)}:wrong".encode()
        proof = f"Basic {base64.b64encode(account).decode()}"
        async with opened(attacker, spread=True) as streams:
            await streams.send(head("GET", "/api/v1/users", Authorization=proof))
            return await status_of(streams)

    await attacker.keep("unknown Basic", 100, one)


async def slow_downloads(attacker: Attacker) -> None:
    """50 clients that ask for more than they read."""
    asked = head("GET", "/static/console.css", Connection="keep-alive") * 40
    if attacker.token:
        proof = f"Bearer {attacker.token}"
        path = "/api/v1/images/twistlock_console.tar.gz"
        asked = head("GET", path, Authorization=proof) + asked

    async def one() -> str:
        async with opened(attacker, receive_bytes=SMALL_BUFFER) as streams:
            await streams.send(asked)
            with suppress(*BROKEN):
                while await streams.reader.read(256):
                    await asyncio.sleep(READ_EVERY_S)
        return "closed"

    await attacker.keep("slow download", 50, one)
