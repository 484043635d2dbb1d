"""`python -m tests.hostile.client`: attacks test hosts until standard input ends.

Prints what came of the connections, as one JSON object, at its end.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.hostile import (
    defender_attacks,
    management_attacks,
    private_attacks,
    revoked_attacks,
)
from tests.hostile.attacker import Attack, Attacker

ATTACKS: dict[str, Attack] = {
    "slow-bodies": management_attacks.slow_bodies,
    "slow-chunks": management_attacks.slow_chunks,
    "slow-heads": management_attacks.slow_heads,
    "silent-tcp": management_attacks.silent_tcp(1300),
    "silent-tcp-10000": management_attacks.silent_tcp(10_000),
    "silent-pages": management_attacks.silent_tcp(1300, 8443),
    "silent-tls": management_attacks.silent_tls,
    "unknown-logins": management_attacks.unknown_logins,
    "right-logins": management_attacks.right_logins,
    "basic-logins": management_attacks.basic_logins,
    "slow-downloads": management_attacks.slow_downloads,
    "8084-silent": defender_attacks.silent,
    "8084-without-certificate": defender_attacks.without_certificate,
    "8084-unfinished-heads": defender_attacks.unfinished_heads,
    "8084-unfinished-frames": defender_attacks.unfinished_frames(200),
    "8086-silent": private_attacks.silent_node_api,
    "8086-as-defender": private_attacks.as_node(private_attacks.NODE_API),
    "27017-silent": private_attacks.silent_mongodb,
    "27017-as-defender": private_attacks.as_node(private_attacks.MONGODB),
    "revoked-accounts": revoked_attacks.revoked_accounts,
    "revoked-defender": revoked_attacks.revoked_defender,
}


async def attack(attacker: Attacker, names: list[str]) -> None:
    """Run the attacks called *names* until standard input ends."""
    tasks = [asyncio.ensure_future(ATTACKS[name](attacker)) for name in names]
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def main() -> None:
    """Run as a program on a test host."""
    parser = argparse.ArgumentParser(prog="tests.hostile.client")
    parser.add_argument("--papers", type=Path, required=True)
    parser.add_argument("--token", type=Path)
    parser.add_argument("--sources", nargs="*", default=[])
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), required=True)
    parser.add_argument("--addresses", nargs="+", required=True)
    options = parser.parse_args()
    token = options.token.read_text() if options.token else ""
    attacker = Attacker(options.addresses, options.papers, token, options.sources)
    asyncio.run(attack(attacker, options.attacks))
    sys.stdout.write(json.dumps(attacker.counts))


if __name__ == "__main__":
    main()
