"""Accounts, tokens and a certificate that were revoked before a restore.

Made through the API before an attack; the attacker then tries each of them for good.
"""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.faults.asking import DEFENDER_PORT, as_defender
from tests.hosts.cluster import Cluster
from tests.hosts.console_api import ConsoleApi, credentials
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.protocol import DefenderHello, decode_from_console, encode

REVOKED = "revoked"
BACKUP = "before-revocations"
OLD_PASSWORD, NEW_PASSWORD = "Password-of-before-1", "Password-of-after-1"
DELETED, CHANGED = "deleted-user", "changed-user"


def prepare_revocations(cluster: Cluster, folder: Path) -> None:
    """Revoke one thing of each kind, restore a backup from before, and note them.

    The Defender's papers are then in the folder "revoked" below *folder*, and what an
    account would send is in "revoked.json" there.
    """
    serving = cluster.nodes[cluster.wait_converged()]
    api, at = cluster.api, serving.address
    papers = folder / REVOKED
    cluster.defender_papers(REVOKED, papers)
    with cluster.client.network():
        asyncio.run(_register(at, papers))
    for name in (DELETED, CHANGED):
        user = {"username": name, "password": OLD_PASSWORD, "role": "auditor"}
        api.call(at, "POST", "/users", user)
    tokens = [_token(api, at, name) for name in (DELETED, CHANGED)]
    api.call(at, "POST", "/backups", BACKUP)
    wait_for(lambda: _is_idle(serving), 60, "the backup")
    api.call(at, "DELETE", f"/defenders/{REVOKED}")
    api.call(at, "DELETE", f"/users/{DELETED}")
    changed = {"username": CHANGED, "password": NEW_PASSWORD, "role": "auditor"}
    api.call(at, "PUT", "/users", changed)
    file = next(b["id"] for b in api.call(at, "GET", "/backups") if b["name"] == BACKUP)
    api.call(at, "POST", f"/backups/{file}/restore")
    wait_for(lambda: _is_restored(serving), 90, "the restore")
    cluster.wait_converged()
    proofs = [f"Bearer {token}" for token in tokens]
    proofs += [_basic(name, OLD_PASSWORD) for name in (DELETED, CHANGED)]
    (folder / "revoked.json").write_text(json.dumps(proofs))


async def _register(address: str, papers: Path) -> None:
    """Have the Console know the Defender."""
    uri = f"wss://{address}:{DEFENDER_PORT}"
    async with connect(uri, ssl=as_defender(papers)) as agent:
        hello: Any = decode_from_console(await agent.recv())
        await agent.send(encode(DefenderHello(REVOKED, hello.version)))
        try:
            async with asyncio.timeout(2.0):
                await agent.recv()
        except (TimeoutError, WebSocketException):
            return


def _token(api: ConsoleApi, address: str, username: str) -> str:
    body = {**credentials(), "username": username, "password": OLD_PASSWORD}
    return str(api.call(address, "POST", "/authenticate", body)["token"])


def _is_idle(node: HostedNode) -> bool:
    return node.ask("/v1/backups")["work"] is None


def _is_restored(node: HostedNode) -> bool:
    found = node.try_ask("/v1/backups")
    if not found or found["work"] is not None or "restore" not in found["results"]:
        return False
    return bool(node.try_ask("/v1/status").get("serving"))


def _basic(username: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
