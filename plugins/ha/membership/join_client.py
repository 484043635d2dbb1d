"""Join the cluster from a new host: ask the primary, wait for APPLY, install secrets.

The join command leaves an invitation on the host, which the node reads. Before APPLY
the host has no certificate of the cluster: it identifies the primary by the pin of its
key, and the primary identifies it by its join token. While it waits it learns the
addresses of the other nodes, and asks them if the role has moved. After APPLY it gets
the secrets over the node API, where it proves its identity with its own key.
"""

import json
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from plugins.ha.messages import JoinResponse
from twistlock_console import __version__
from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import (
    IdentityError,
    NodeUnreachable,
    Refused,
)
from twistlock_console.common.json_members import load_json
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
MAX_ANSWER_BYTES = 4 * 1024**2
#: A failover takes fewer tries; after these an operator may have to help.
TRIES_BEFORE_ADVICE = 60
ADVICE = (
    "; if another node is the primary now, copy a new join command from its page and "
    "run it here"
)
_SECRETS = TypeAdapter(dict[str, str])
log = logging.getLogger(__name__)


def must_join(settings: Settings) -> bool:
    """Return whether this node was not admitted to a cluster yet."""
    return not (settings.folders.certificates / NODE).exists()


def check_secrets(settings: Settings) -> None:
    """Raise IdentityError if a secret of the cluster is missing on this host."""
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
    """Ask to join, wait for APPLY, and install the secrets of the cluster.

    Args:
        settings: The settings of this node.
        pause: Waits the given seconds; it raises an exception to end the wait.

    Raises:
        Refused: The primary refuses the request for good.
        IdentityError: There is no invitation, or it is damaged.
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
        # A primary of an earlier release sends no nodes.
        content = {"nodes": {}, **primary.request_until_answered(request, pause)}
        answer = JoinResponse.from_answer(content)
        if answer.is_approved:
            return answer
        if (found := invitation.with_peers(answer.nodes)) != invitation:
            invitation = found
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
            cluster_secrets = _texts(client.get("/v1/ha/papers"))
        for name, content in cluster_secrets.items():
            write_secret(_secret_path(folders, name), content.encode())
        write_known_members(folders, invitation.pins)
        # Last: with this file the node counts as admitted at its next start.
        store_node_certificate(folders.certificates, certificate.encode())
    except BaseException:
        forget_known_members(folders)
        for name in (NODE, *CLUSTER_FILES):
            (folders.certificates / name).unlink(missing_ok=True)
        raise
    (folders.secrets / INVITATION).unlink(missing_ok=True)
    log.info("joined the cluster")


def _install_certificates(folders: Folders, answer: JoinResponse) -> str:
    """Store the certificates of the cluster; return the one to be stored last."""
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


def _texts(content: object) -> dict[str, str]:
    """Return the secrets in a node's answer; raises NodeUnreachable if it is wrong."""
    try:
        return _SECRETS.validate_python(content)
    except ValidationError as error:
        raise NodeUnreachable("the primary's secrets cannot be understood") from error


def _secret_path(folders: Folders, name: str) -> Path:
    if name not in CLUSTER_SECRETS:
        raise IdentityError(f"unexpected secret {name!r} in the primary's answer")
    return folders.root / CLUSTER_SECRETS[name] / name


def cluster_secrets(folders: Folders) -> dict[str, str]:
    """Return the contents of the secrets of the cluster, by file name."""
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
    """The file that the join command leaves: how to reach and identify the primary.

    Attributes:
        address: Address of the primary that made the join command.
        port: Its management port.
        pin: The pin of its key.
        token: The join token.
        others: Pins by address of the other nodes, learned from the cluster since.
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
        """Return the invitation with *nodes*, pins by address, if there are any."""
        return replace(self, others=dict(nodes)) if nodes else self

    @classmethod
    def read(cls, folders: Folders) -> Self:
        """Read the invitation that the join command left; raises IdentityError."""
        path = folders.secrets / INVITATION
        if not path.exists():
            raise IdentityError(NOT_INVITED.format(folder=folders.root))
        try:
            stored = load_json(read_secret(path))
            others = stored.get("others") or {}
            return cls(
                address=str(stored["address"]),
                port=_port(stored["port"]),
                pin=str(stored["pin"]),
                token=str(stored["token"]),
                others={str(node): str(pin) for node, pin in others.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IdentityError(
                f"{path} is damaged; run the join command from the primary's page again"
            ) from error

    def write(self, folders: Folders) -> None:
        """Write the invitation to the file that the node reads when it starts."""
        write_secret(folders.secrets / INVITATION, json.dumps(asdict(self)).encode())


@dataclass(frozen=True, slots=True)
class PinnedRequest:
    """A request for `PinnedClient`; *body* is sent as JSON, None sends no body."""

    method: str
    path: str
    body: object = None


class PinnedClient:
    """Calls the API of the nodes of *invitation*, from our address *source*.

    It checks the pin of each node's key instead of a certificate chain. One thread.
    """

    def __init__(self, invitation: JoinInvitation, *, source: str) -> None:
        self._invitation = invitation
        self._source = source
        self.address = invitation.address

    def update_endpoints(self, invitation: JoinInvitation) -> None:
        """Use the nodes of *invitation*, first the one that answered last."""
        self._invitation = invitation
        if self.address not in invitation.pins:
            self.address = invitation.address

    def request_until_answered(
        self, request: PinnedRequest, pause: Callable[[float], None]
    ) -> dict[str, object]:
        """Send *request* to one node after the other until one answers.

        The role may have moved to another one. *pause* is that of `join`.

        Raises:
            Refused: A node refused the request.
        """
        tries = 0
        while True:
            try:
                return self.send_once(request)
            except (OSError, HTTPException, ValueError) as error:
                tries += 1
                advice = ADVICE if tries > TRIES_BEFORE_ADVICE else ""
                why = describe_error(error)
                log.warning(
                    "%s does not answer (%s); asking again%s", self.address, why, advice
                )
            self.address = _next_address(self.address, list(self._invitation.pins))
            pause(RETRY_INTERVAL_S)

    def send_once(self, request: PinnedRequest) -> dict[str, object]:
        """Send *request* once; return the JSON of the response.

        Raises:
            Refused: The node refused it, or its key has another pin.
            OSError, HTTPException, ValueError: No valid response came.
        """
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
            content = _object(answer.read(MAX_ANSWER_BYTES) or b"{}")
        finally:
            connection.close()
        if answer.status in (429, 500, 502, 503):
            raise HTTPException(str(content.get("err", f"status {answer.status}")))
        if answer.status != 200:
            raise Refused(str(content.get("err", f"status {answer.status}")))
        return content

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
                f"{self.address} shows another key than the join command was made for; "
                "the connection may be intercepted. Copy a new join command and "
                "compare."
            )


def _port(stored: object) -> int:
    """Return the port that is *stored*; raises ValueError if it is none."""
    port = int(str(stored))
    if not 0 < port < 65_536:
        raise ValueError(f"{port} is no port")
    return port


def _object(text: bytes) -> dict[str, object]:
    """Return the JSON object that a node answered; raises ValueError."""
    content = load_json(text)
    if not isinstance(content, dict):
        raise ValueError("the answer is no object")  # noqa: TRY004
    return content


def _next_address(address: str, addresses: list[str]) -> str:
    """Return the address after *address*, in a ring."""
    return addresses[(addresses.index(address) + 1) % len(addresses)]


def _pinned_context() -> ssl.SSLContext:
    # The pin replaces the chain, which this host cannot verify yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
