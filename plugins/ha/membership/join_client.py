"""A new host's side of joining: asks the primary, waits for APPLY, takes its secrets.

The join command leaves an invitation on the host for the node to find. Before APPLY
the host has no certificate of ours; it knows the primary by the pin of its key, and
the primary knows it by its join token. While it waits it learns of the other nodes,
and asks them when the role has moved. After APPLY its secrets come over the node API,
where it must prove with its own key who it is.
"""

import json
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Self

from plugins.ha.messages import JoinResponse
from twistlock_console import __version__
from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.database.known_members import (
    forget_known_members,
    write_known_members,
)
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.certificates import (
    fingerprint,
    public_key_pin,
    store_cluster_identity,
    store_node_certificate,
)
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_FILES,
    NODE,
    NODE_KEY,
    make_key,
    make_request,
)
from twistlock_console.settings import Folders, Settings

REQUESTS = "/api/v1/high-availability/join-requests"
CLUSTER_SECRETS = {
    "mongod.key": "secrets",
    "console.password": "secrets",
    "cluster.password": "secrets",
    "session.key": "secrets",
    "ca-key.pem": "certificates",
}
INVITATION = "invitation.json"
NOT_INVITED = (
    "HIGH_AVAILABILITY_STATE=SECONDARY, and {folder} belongs to no cluster: it is not "
    "set by hand. To add this host, copy the join command from Manage > "
    "System > High Availability of the primary and run it here. If this host was a "
    "node before and its folder was emptied, remove that node on the page first, then "
    "run the join command. For a Console of its own set HIGH_AVAILABILITY_STATE=PRIMARY"
)
RETRY_INTERVAL_S = 1.0
REQUEST_TIMEOUT_S = 10.0
#: So many tries are left to a failover; then a person may have to help.
TRIES_BEFORE_ADVICE = 60
ADVICE = (
    "; if another node is the primary now, copy the join command anew from its page, "
    "and run it here"
)
log = logging.getLogger(__name__)


def must_join(settings: Settings) -> bool:
    """Return whether this node has yet to be admitted to a cluster."""
    return not (settings.folders.certificates / NODE).exists()


def check_secrets(settings: Settings) -> None:
    """Raise IdentityError if a secret that each node of a cluster has is missing."""
    for name in CLUSTER_SECRETS:
        path = _secret_path(settings.folders, name)
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
    invitation = JoinInvitation.read(settings.folders)
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
    primary.request_until_answered(PinnedRequest("POST", REQUESTS, body), pause)
    answer = _wait_for_apply(settings, invitation, primary, pause)
    invitation = invitation.with_peers(answer.nodes)
    _install_secrets(settings, primary.address, invitation, answer)


def _wait_for_apply(
    settings: Settings,
    invitation: "JoinInvitation",
    primary: "PinnedClient",
    pause: Callable[[float], None],
) -> JoinResponse:
    request = PinnedRequest("GET", f"{REQUESTS}/{settings.node_address}")
    while True:
        # An earlier release tells of no nodes.
        content = {"nodes": {}, **primary.request_until_answered(request, pause)}
        answer = JoinResponse.from_answer(content)
        if answer.is_approved:
            return answer
        if (told := invitation.with_peers(answer.nodes)) != invitation:
            invitation = told
            invitation.write(settings.folders)
            primary.update_endpoints(invitation)
        pause(RETRY_INTERVAL_S)


def _install_secrets(
    settings: Settings,
    primary: str,
    invitation: "JoinInvitation",
    answer: JoinResponse,
) -> None:
    folders = settings.folders
    try:
        certificate = _install_certificates(folders, answer)
        with NodeClient(settings, primary) as client:
            cluster_secrets = client.get("/v1/ha/papers")
        for name, content in cluster_secrets.items():
            write_secret(_secret_path(folders, name), content.encode())
        write_known_members(folders, invitation.pins)
        # Last of all: with it the node counts as admitted at its next start.
        store_node_certificate(folders.certificates, certificate.encode())
    except BaseException:
        forget_known_members(folders)
        for name in (NODE, *CLUSTER_FILES):
            (folders.certificates / name).unlink(missing_ok=True)
        raise
    (folders.secrets / INVITATION).unlink(missing_ok=True)
    log.info("admitted to the cluster")


def _install_certificates(folders: Folders, answer: JoinResponse) -> str:
    """Store the identity in the cluster; return the certificate to be stored last."""
    if answer.certificate is None or answer.cluster_certificate is None:
        raise Refused(
            "This host was admitted by an earlier release of the Console; remove it on "
            "the primary's page and run the join command again."
        )
    write_secret(folders.certificates / AUTHORITY, answer.authority.encode())
    store_cluster_identity(
        folders.certificates,
        answer.cluster_certificate.encode(),
        answer.cluster_authorities.encode(),
    )
    return answer.certificate


def _secret_path(folders: Folders, name: str) -> Path:
    if name not in CLUSTER_SECRETS:
        raise IdentityError(f"unexpected secret {name!r} in the primary's answer")
    return folders.root / CLUSTER_SECRETS[name] / name


def cluster_secrets(folders: Folders) -> dict[str, str]:
    """Return the secrets that every node of the cluster has, by file name."""
    return {
        name: read_secret(_secret_path(folders, name)).decode()
        for name in CLUSTER_SECRETS
    }


def fingerprint_of(settings: Settings) -> str:
    """Return the fingerprint of this host's key, as the primary's page shows it."""
    key = settings.folders.certificates / NODE_KEY
    return fingerprint(make_request(key, settings.node_address))


@dataclass(frozen=True, slots=True)
class JoinInvitation:
    """Where the primary is, how to know it, and the token to ask with.

    *others* are the pins, by address, of the nodes that the cluster has told of since.
    """

    address: str
    port: int
    pin: str
    token: str
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def pins(self) -> dict[str, str]:
        """Return the pins of all nodes that may be the primary, by address."""
        return {self.address: self.pin, **self.others}

    def with_peers(self, nodes: Mapping[str, str] | None) -> Self:
        """Return the invitation with the pins of *nodes*, if the cluster told any."""
        return replace(self, others=dict(nodes)) if nodes else self

    @classmethod
    def read(cls, folders: Folders) -> Self:
        """Read the invitation that the join command left; raises IdentityError."""
        path = folders.secrets / INVITATION
        if not path.exists():
            raise IdentityError(NOT_INVITED.format(folder=folders.root))
        try:
            stored = json.loads(read_secret(path))
            others = stored.get("others") or {}
            return cls(
                address=str(stored["address"]),
                port=int(stored["port"]),
                pin=str(stored["pin"]),
                token=str(stored["token"]),
                others={str(node): str(pin) for node, pin in others.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IdentityError(
                f"{path} is damaged; run the join command from the primary's page again"
            ) from error

    def write(self, folders: Folders) -> None:
        """Leave the invitation where the node looks for it at its start."""
        write_secret(folders.secrets / INVITATION, json.dumps(asdict(self)).encode())


@dataclass(frozen=True, slots=True)
class PinnedRequest:
    """One request; *body* becomes JSON."""

    method: str
    path: str
    body: object = None


class PinnedClient:
    """Asks the Console of *invitation*, from our address *source*."""

    def __init__(self, invitation: JoinInvitation, *, source: str) -> None:
        self._invitation = invitation
        self._source = source
        self.address = invitation.address

    def update_endpoints(self, invitation: JoinInvitation) -> None:
        """Ask the nodes of *invitation* from now on, first the one that answered."""
        self._invitation = invitation
        if self.address not in invitation.pins:
            self.address = invitation.address

    def request_until_answered(
        self, request: PinnedRequest, pause: Callable[[float], None]
    ) -> dict[str, object]:
        """Ask one node after the other until there is an answer.

        The role may be moving just now, or have moved since the last answer.
        """
        tries = 0
        while True:
            try:
                return self.send_once(request)
            except (OSError, HTTPException, ValueError) as error:
                tries += 1
                advice = ADVICE if tries > TRIES_BEFORE_ADVICE else ""
                why = describe_error(error)
                told = f"{self.address} does not answer ({why}); asking again"
                log.warning("%s%s", told, advice)
            self.address = _next_address(self.address, list(self._invitation.pins))
            pause(RETRY_INTERVAL_S)

    def send_once(self, request: PinnedRequest) -> dict[str, object]:
        """Ask once; raises Refused, or what http.client and json raise."""
        connection = HTTPSConnection(
            self.address,
            self._invitation.port,
            timeout=REQUEST_TIMEOUT_S,
            source_address=(self._source, 0),
            context=_pinned_context(),
        )
        try:
            connection.connect()
            self._check_pin(connection)
            self._send(connection, request)
            answer = connection.getresponse()
            content = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        if answer.status in (429, 500, 502, 503):
            raise HTTPException(content.get("err", f"status {answer.status}"))
        if answer.status != 200:
            raise Refused(str(content.get("err", f"status {answer.status}")))
        return dict(content)

    def _send(self, connection: HTTPSConnection, request: PinnedRequest) -> None:
        headers = {
            "Authorization": f"Bearer {self._invitation.token}",
            "Content-Type": "application/json",
        }
        content = None if request.body is None else json.dumps(request.body)
        connection.request(request.method, request.path, content, headers)

    def _check_pin(self, connection: HTTPSConnection) -> None:
        der = connection.sock.getpeercert(binary_form=True) or b""
        shown = public_key_pin(ssl.DER_cert_to_PEM_cert(der).encode())
        if shown != self._invitation.pins[self.address]:
            raise Refused(
                f"{self.address} shows another key than the join command "
                "was made for; somebody may be in between. Copy the command anew and "
                "compare."
            )


def _next_address(address: str, addresses: list[str]) -> str:
    """Return the address after *address*; after the last, the first again."""
    return addresses[(addresses.index(address) + 1) % len(addresses)]


def _pinned_context() -> ssl.SSLContext:
    # The pin takes the place of the chain, which this host cannot know yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
