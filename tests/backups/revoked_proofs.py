"""One proof of each kind on a cluster: what it opens, and how it is revoked."""

import json
import re
import shutil
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.hosts.cluster import Cluster
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.node import HostedNode
from twistlock_console.pki.authority import sign_cluster_request
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_TRUST,
    make_key,
    make_request,
)

JANE, ANN = ("jane", "a phrase of Jane's"), ("ann", "the first phrase of Ann")
NEW_PHRASE = "the second phrase of Ann"
DEPLOY_TOKEN = re.compile(r"deploy-[\w-]{43}")
REFUSED = {
    "deleted account": 401,
    "changed password": 401,
    "session that was ended": 401,
    "session from before the restore": 401,
    "deploy token": "was revoked, is not known, or has ended",
    "name with a deploy token": 400,
    "join token": "The join token was revoked",
    "decommissioned Defender": 1008,
    "replaced certificate": 1008,
    "removed node": 410,
}


class Proofs:
    """The proofs, made on the *cluster*; *folder* takes keys and certificates.

    *command* runs `twistlock-console` on a node's host, *at_database* what
    `at_database.py` can do.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        command: Callable[..., str],
        at_database: Callable[..., Any],
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._command = command
        self._at_database = at_database

    def make(self, node: HostedNode) -> None:
        """Make one of each kind on the *node* that serves."""
        self._address = node.address
        for name, password in (JANE, ANN):
            body = {"username": name, "password": password, "role": "admin"}
            self._admin("POST", "/users", body)
        self._ended = self._log_in(USERNAME, PASSWORD)
        self._deploy, self._kept = (
            DEPLOY_TOKEN.findall(self._command(node, "defender", "command"))[0]
            for _ in range(2)
        )
        for name in ("web-1", "web-2", "web-3"):
            self._enrol(name, name)
        made = self._admin("POST", "/high-availability/join-token")
        self._join = made["token"]
        self._make_node_certificate(node)

    def revoke(self, node: HostedNode) -> None:
        """Revoke all but the second deploy token and the Defender web-3."""
        self._admin("DELETE", "/users/jane")
        body = {"username": "ann", "password": NEW_PHRASE, "role": "admin"}
        self._admin("PUT", "/users", body)
        self._call("POST", "/logout", token=self._ended)
        self._left = self._log_in(USERNAME, PASSWORD)
        self._admin("DELETE", "/defenders/web-1")
        self._enrol("web-2", "web-2-again")
        tokens = self._admin("GET", "/high-availability/join-tokens")
        path = f"/high-availability/join-tokens/{tokens[0]['id']}"
        self._admin("DELETE", path)
        self._at_database(node, "revoke-deploy-token", self._deploy)
        self._at_database(node, "revoke-node", self._node_key)

    def answers(self, address: str) -> dict[str, object]:
        """What each revoked proof opens at the node that serves at *address*."""
        self._address = address
        found: Mapping[str, Callable[[], object]] = {
            "deleted account": lambda: self._with_password(*JANE),
            "changed password": lambda: self._with_password(*ANN),
            "session that was ended": lambda: self._with_token(self._ended),
            "session from before the restore": lambda: self._with_token(self._left),
            "deploy token": lambda: self._script("defender.sh", self._deploy),
            "name with a deploy token": self._take_the_name,
            "join token": lambda: self._script("console.sh", self._join),
            "decommissioned Defender": lambda: self._dial("web-1"),
            "replaced certificate": lambda: self._dial("web-2"),
            "removed node": self._as_removed_node,
        }
        return {kind: ask() for kind, ask in found.items()}

    def living(self) -> dict[str, object]:
        """What the proofs open that were not revoked."""
        return {
            "password": self._with_password(ANN[0], NEW_PHRASE),
            "deploy token": self._script("defender.sh", self._kept),
            "Defenders": [self._dial("web-2-again"), self._dial("web-3")],
        }

    def _log_in(self, username: str, password: str) -> str:
        body = {"username": username, "password": password}
        return str(json.loads(self._call("POST", "/authenticate", body)[1])["token"])

    def _with_password(self, username: str, password: str) -> int:
        body = {"username": username, "password": password}
        return self._call("POST", "/authenticate", body)[0]

    def _with_token(self, token: str) -> int:
        return self._call("GET", "/version", token=token)[0]

    def _script(self, name: str, token: str) -> str:
        text = self._call("GET", f"/scripts/{name}", token=token)[1]
        known = [each for each in REFUSED.values() if str(each) in text]
        return str(known[0]) if known else "a script"

    def _take_the_name(self) -> int:
        return self._request_certificate("web-3", "stranger", self._kept)[0]

    def _enrol(self, name: str, papers: str) -> None:
        """Enrol as *name*; with the key of before, if there is one."""
        (self._folder / papers).mkdir(exist_ok=True)
        if papers != name:
            shutil.copy(self._folder / name / "key.pem", self._folder / papers)
        status, text = self._request_certificate(name, papers, self._kept)
        assert status == 200, text
        made = json.loads(text)
        (self._folder / papers / "certificate.pem").write_text(made["certificate"])
        (self._folder / papers / "ca.pem").write_text(made["authority"])

    def _request_certificate(
        self, name: str, papers: str, token: str
    ) -> tuple[int, str]:
        key = self._folder / papers / "key.pem"
        key.parent.mkdir(exist_ok=True)
        if not key.exists():
            make_key(key)
        body = {"defender": name, "request": make_request(key, name).decode()}
        return self._call("POST", "/defenders/enrol", body, token=token)

    def _dial(self, papers: str) -> int | str:
        """Connect as a Defender: the Console's first word, or why it sends away."""
        folder = self._folder / papers
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        try:
            with (
                self._cluster.client.network(),
                connect(f"wss://{self._address}:8084", ssl=context) as connection,
            ):
                return str(json.loads(connection.recv(timeout=10))["type"])
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else "cut off"
        except InvalidStatus as refused:
            return refused.response.status_code

    def _make_node_certificate(self, node: HostedNode) -> None:
        folder = self._folder / "node"
        folder.mkdir()
        make_key(folder / "key.pem")
        request = make_request(folder / "key.pem", "10.99.0.9")
        certificates = node.settings.folders.certificates
        pem = sign_cluster_request(certificates, request, ["10.99.0.9"])
        (folder / "certificate.pem").write_bytes(pem)
        self._node_key = fingerprint(pem)

    def _as_removed_node(self) -> int:
        """Ask the node API of each node that runs; their one answer."""
        folder = self._folder / "node"
        trust = self._cluster.certificates
        context = ssl.create_default_context(cafile=trust / AUTHORITY)
        context.load_verify_locations(trust / CLUSTER_TRUST)
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        answers = set()
        for node in [n for n in self._cluster.nodes.values() if n.running]:
            with (
                self._cluster.client.network(),
                urllib3.HTTPSConnectionPool(
                    node.address, 8086, ssl_context=context, retries=False, timeout=5
                ) as pool,
            ):
                answers.add(pool.request("GET", "/v1/ha/heartbeat").status)
        [answer] = answers
        return int(answer)

    def _admin(self, method: str, path: str, body: object = None) -> Any:
        return self._cluster.api.call(self._address, method, path, body)

    def _call(
        self, method: str, path: str, body: object = None, token: str = ""
    ) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        pool = self._cluster.api.pool(self._address)
        with self._cluster.client.network(), pool:
            answer = pool.request(method, f"/api/v1{path}", json=body, headers=headers)
        return answer.status, answer.data.decode(errors="replace")
