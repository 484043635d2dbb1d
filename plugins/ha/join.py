"""A new host's side of joining: asks the primary, waits for APPLY, takes its papers.

Before APPLY the host has no certificate of ours; it knows the primary by the pin of
its key, and the primary knows it by its join token. After APPLY its secrets come
over the node API, where it must prove with its own key who it is.
"""

import json
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self

from twistlock_console import __version__
from twistlock_console.certificates import (
    fingerprint,
    make_key,
    make_request,
    public_key_pin,
    store_node_certificate,
)
from twistlock_console.errors import IdentityError, Refused
from twistlock_console.identity_files import NODE, NODE_KEY
from twistlock_console.node_client import NodeClient
from twistlock_console.secret_files import read_secret, write_secret
from twistlock_console.settings import Folders, Settings

INVITATION = "invitation.json"
ASK_AGAIN_SECONDS = 1.0
REQUESTS = "/api/v1/high-availability/join-requests"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where the primary is, how to know it, and the token to ask with."""

    address: str
    port: int
    pin: str
    token: str

    @classmethod
    def read(cls, folders: Folders) -> Self:
        """The invitation that the join command left; raises IdentityError."""
        path = folders.secrets / INVITATION
        try:
            stored = json.loads(read_secret(path))
            return cls(
                address=str(stored["address"]),
                port=int(stored["port"]),
                pin=str(stored["pin"]),
                token=str(stored["token"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityError(
                f"{path} is damaged; run the join command from the primary's page again"
            ) from error

    def write(self, folders: Folders) -> None:
        """Leave the invitation where the node looks for it at its start."""
        stored = {
            "address": self.address,
            "port": self.port,
            "pin": self.pin,
            "token": self.token,
        }
        write_secret(folders.secrets / INVITATION, json.dumps(stored).encode())


def must_join(settings: Settings) -> bool:
    """Whether this node has yet to be admitted to a cluster."""
    return not (settings.folders.certificates / NODE).exists()


def join(settings: Settings, pause: Callable[[float], None]) -> None:
    """Ask to join and wait until admitted; then this node has all its secrets.

    *pause* waits some seconds, and raises what shall end the wait. Raises Refused
    when the primary turns the request down for good.
    """
    invitation = Invitation.read(settings.folders)
    key = settings.folders.certificates / NODE_KEY
    if not key.exists():
        make_key(key)
    csr = make_request(key, settings.node_address)
    log.info("asking %s to join; fingerprint %s", invitation.address, fingerprint(csr))
    body = {
        "address": settings.node_address,
        "version": __version__,
        "request": csr.decode(),
    }
    _insist(invitation, "POST", REQUESTS, body, pause)
    answer = _wait_for_apply(invitation, settings.node_address, pause)
    _take_papers(settings, invitation, answer)


def _wait_for_apply(
    invitation: Invitation, address: str, pause: Callable[[float], None]
) -> Mapping[str, Any]:
    while True:
        answer = _insist(invitation, "GET", f"{REQUESTS}/{address}", None, pause)
        if answer["state"] == "APPROVED":
            return answer
        pause(ASK_AGAIN_SECONDS)


def _take_papers(
    settings: Settings, invitation: Invitation, answer: Mapping[str, Any]
) -> None:
    folders = settings.folders
    write_secret(folders.certificates / "ca.pem", answer["authority"].encode())
    certificate = answer["certificate"].encode()
    store_node_certificate(folders.certificates, certificate)
    try:
        with NodeClient(settings, invitation.address) as client:
            papers = client.get("/v1/ha/papers")
        for name, content in papers.items():
            write_secret(_place(folders, name), content.encode())
    except BaseException:
        # Half a set of papers would look like an admitted node at the next start.
        (folders.certificates / NODE).unlink(missing_ok=True)
        raise
    (folders.secrets / INVITATION).unlink(missing_ok=True)
    log.info("admitted to the cluster")


PAPERS = {
    "mongod.key": "secrets",
    "console.password": "secrets",
    "cluster.password": "secrets",
    "session.key": "secrets",
    "ca-key.pem": "certificates",
}


def _place(folders: Folders, name: str) -> Path:
    if name not in PAPERS:
        raise IdentityError(f"the primary sent a paper nobody asked for: {name}")
    return folders.root / PAPERS[name] / name


def papers(folders: Folders) -> dict[str, str]:
    """The secrets that every node of the cluster has, by file name."""
    return {name: read_secret(_place(folders, name)).decode() for name in PAPERS}


def _insist(
    invitation: Invitation,
    method: str,
    path: str,
    body: object,
    pause: Callable[[float], None],
) -> Mapping[str, Any]:
    """Ask until there is an answer; a primary may be failing over just now."""
    while True:
        try:
            return _ask(invitation, method, path, body)
        except (OSError, HTTPException, ValueError) as error:
            log.warning(
                "%s does not answer (%s); asking again", invitation.address, error
            )
            pause(ASK_AGAIN_SECONDS)


def _ask(
    invitation: Invitation, method: str, path: str, body: object
) -> Mapping[str, Any]:
    connection = HTTPSConnection(
        invitation.address, invitation.port, timeout=10, context=_unverified()
    )
    try:
        connection.connect()
        _check_pin(connection, invitation)
        headers = {
            "Authorization": f"Bearer {invitation.token}",
            "Content-Type": "application/json",
        }
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read() or b"{}")
    finally:
        connection.close()
    if answer.status in (429, 500, 502, 503):
        raise HTTPException(content.get("err", f"status {answer.status}"))
    if answer.status != 200:
        raise Refused(str(content.get("err", f"status {answer.status}")))
    return dict(content)


def _unverified() -> ssl.SSLContext:
    # The pin below takes the place of the chain, which this host cannot know yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _check_pin(connection: HTTPSConnection, invitation: Invitation) -> None:
    secured = connection.sock
    der = secured.getpeercert(binary_form=True) or b""
    shown = public_key_pin(ssl.DER_cert_to_PEM_cert(der).encode())
    if shown != invitation.pin:
        raise Refused(
            f"{invitation.address} shows another key than the join command was made "
            "for; somebody may be in between. Copy the command anew and compare."
        )
