"""A new host's side of joining: asks the primary, waits for APPLY, takes its papers.

Before APPLY the host has no certificate of ours; it knows the primary by the pin of
its key, and the primary knows it by its join token. While it waits it learns of the
other nodes, and asks them when the role has moved. After APPLY its secrets come
over the node API, where it must prove with its own key who it is.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plugins.ha.membership.invitation import INVITATION, Invitation
from plugins.ha.membership.pinned_client import (
    ASK_AGAIN_SECONDS,
    PinnedClient,
    Question,
)
from twistlock_console import __version__
from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.database.known_members import (
    forget_known_members,
    write_known_members,
)
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.certificates import (
    fingerprint,
    make_key,
    make_request,
    store_node_certificate,
)
from twistlock_console.pki.cluster_identity import store_cluster_identity
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_FILES,
    NODE,
    NODE_KEY,
)
from twistlock_console.settings import Folders, Settings

__all__ = ["Invitation", "fingerprint_of", "join", "must_join", "papers"]

REQUESTS = "/api/v1/high-availability/join-requests"
log = logging.getLogger(__name__)


def must_join(settings: Settings) -> bool:
    """Whether this node has yet to be admitted to a cluster."""
    return not (settings.folders.certificates / NODE).exists()


def check_secrets(settings: Settings) -> None:
    """Raise IdentityError if a secret that each node of a cluster has is missing."""
    for name in PAPERS:
        path = _place(settings.folders, name)
        if not path.exists():
            raise IdentityError(
                f"{path} is missing, and without it this node cannot belong to its "
                "cluster: restore it from a backup of this host; or remove the node on "
                "the primary's page (Manage > System > High Availability), uninstall "
                "the Console here (twistlock.sh -u) and run the join command again"
            )


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
    primary = PinnedClient(invitation, source=settings.node_address)
    primary.insist(Question("POST", REQUESTS, body), pause)
    answer = _wait_for_apply(settings, invitation, primary, pause)
    _take_papers(settings, primary.address, invitation.informed(answer), answer)


def _wait_for_apply(
    settings: Settings,
    invitation: Invitation,
    primary: PinnedClient,
    pause: Callable[[float], None],
) -> Mapping[str, Any]:
    question = Question("GET", f"{REQUESTS}/{settings.node_address}")
    while True:
        answer = primary.insist(question, pause)
        if answer["state"] == "APPROVED":
            return answer
        if (told := invitation.informed(answer)) != invitation:
            invitation = told
            invitation.write(settings.folders)
            primary.learn(invitation)
        pause(ASK_AGAIN_SECONDS)


def _take_papers(
    settings: Settings, primary: str, invitation: Invitation, answer: Mapping[str, Any]
) -> None:
    folders = settings.folders
    try:
        _take_certificates(folders, answer)
        with NodeClient(settings, primary) as client:
            papers = client.get("/v1/ha/papers")
        for name, content in papers.items():
            write_secret(_place(folders, name), content.encode())
        write_known_members(folders, invitation.pins)
        # Last of all: with it the node counts as admitted at its next start.
        store_node_certificate(folders.certificates, answer["certificate"].encode())
    except BaseException:
        forget_known_members(folders)
        for name in (NODE, *CLUSTER_FILES):
            (folders.certificates / name).unlink(missing_ok=True)
        raise
    (folders.secrets / INVITATION).unlink(missing_ok=True)
    log.info("admitted to the cluster")


def _take_certificates(folders: Folders, answer: Mapping[str, Any]) -> None:
    if answer["clusterCertificate"] is None:
        raise Refused(
            "This host was admitted by an earlier release of the Console; remove it on "
            "the primary's page and run the join command again."
        )
    write_secret(folders.certificates / AUTHORITY, answer["authority"].encode())
    store_cluster_identity(
        folders.certificates,
        answer["clusterCertificate"].encode(),
        answer["clusterAuthorities"].encode(),
    )


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


def fingerprint_of(settings: Settings) -> str:
    """The fingerprint of this host's key, as the primary's page shows it."""
    key = settings.folders.certificates / NODE_KEY
    return fingerprint(make_request(key, settings.node_address))
