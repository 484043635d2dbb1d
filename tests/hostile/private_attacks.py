"""Attacks on the ports between nodes: MongoDB's and the node API's."""

import asyncio
from contextlib import suppress
from pathlib import Path

from tests.hostile.attacker import BROKEN, Attack, Attacker
from tests.hostile.management_attacks import silent_tcp

MONGODB, NODE_API = 27017, 8086
#: What a server that takes a certificate has time to answer in.
ANSWER_TIMEOUT_S = 2.0

silent_mongodb = silent_tcp(2000, MONGODB)
silent_node_api = silent_tcp(1000, NODE_API)


def as_node(port: int, papers: Path | None = None) -> Attack:
    """Return the attack that shows a Defender's certificate to a node's port (C1)."""
    name = f"{port} with the certificate of {papers.name if papers else 'a Defender'}"

    async def attack(attacker: Attacker) -> None:
        tls = attacker.tls_as_defender(papers)

        async def one() -> str:
            streams = await attacker.open(port, tls)
            try:
                # With TLS 1.3 a refusal comes after the client's last message; a
                # server that takes the certificate waits for a request.
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    return "let in" if await streams.reader.read(1) else "refused"
            except TimeoutError:
                return "let in"
            except BROKEN:
                return "refused"
            finally:
                with suppress(OSError):
                    streams.close()

        await attacker.keep(name, 2, one)

    return attack
