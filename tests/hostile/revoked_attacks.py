"""Tries with what was revoked: each must be refused, though a backup came back (B)."""

import asyncio
import json

from tests.hostile.attacker import Attacker
from tests.hostile.defender_attacks import unfinished_frames
from tests.hostile.management_attacks import head, opened, status_of
from tests.hostile.private_attacks import MONGODB, NODE_API, as_node
from tests.hostile.revocations import REVOKED

TRY_EVERY_S = 2.0
REFUSED = ("401", "429", "503", "cut")


async def revoked_accounts(attacker: Attacker) -> None:
    """Passwords and tokens of an account that was deleted, and of one that changed."""
    proofs = json.loads((attacker.papers.parent / "revoked.json").read_text())
    paths = ("/api/v1/users", "/api/v1/authenticate/renew")

    async def one() -> str:
        outcomes = [
            await _ask(attacker, path, proof) for proof in proofs for path in paths
        ]
        await asyncio.sleep(TRY_EVERY_S)
        let_in = [each for each in outcomes if each not in REFUSED]
        return "let in" if let_in else "refused"

    await attacker.keep("revoked accounts", 1, one)


async def revoked_defender(attacker: Attacker) -> None:
    """The certificate of a decommissioned Defender, on each port that knows it (B2)."""
    papers = attacker.papers.parent / REVOKED
    async with asyncio.TaskGroup() as group:
        for attack in (
            unfinished_frames(20, papers),
            as_node(MONGODB, papers),
            as_node(NODE_API, papers),
        ):
            group.create_task(attack(attacker))


async def _ask(attacker: Attacker, path: str, proof: str) -> str:
    async with opened(attacker) as streams:
        await streams.send(head("GET", path, Authorization=proof))
        return await status_of(streams)
