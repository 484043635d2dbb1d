"""A client for a host that has no certificate of ours yet: it knows keys by their pins.

Of the nodes that it knows one serves; it stays with that one as long as it answers.
"""

import json
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from typing import Any

from plugins.ha.membership.invitation import Invitation
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import Refused
from twistlock_console.pki.certificates import public_key_pin

ASK_AGAIN_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
#: So many tries are left to a failover; then a person may have to help.
PATIENCE = 60
ADVICE = (
    "; if another node is the primary now, copy the join command anew from its page, "
    "and run it here"
)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """One request; *body* becomes JSON."""

    method: str
    path: str
    body: object = None


class PinnedClient:
    """Asks the Console of *invitation*, from our address *source*."""

    def __init__(self, invitation: Invitation, *, source: str) -> None:
        self._invitation = invitation
        self._source = source
        self.address = invitation.address

    def learn(self, invitation: Invitation) -> None:
        """Ask the nodes of *invitation* from now on, first the one that answered."""
        self._invitation = invitation
        if self.address not in invitation.pins:
            self.address = invitation.address

    def insist(
        self, question: Question, pause: Callable[[float], None]
    ) -> Mapping[str, Any]:
        """Ask one node after the other until there is an answer.

        The role may be moving just now, or have moved since the last answer.
        """
        tries = 0
        while True:
            try:
                return self.ask(question)
            except (OSError, HTTPException, ValueError) as error:
                tries += 1
                advice = ADVICE if tries > PATIENCE else ""
                why = describe_error(error)
                told = f"{self.address} does not answer ({why}); asking again"
                log.warning("%s%s", told, advice)
            self.address = _after(self.address, list(self._invitation.pins))
            pause(ASK_AGAIN_SECONDS)

    def ask(self, question: Question) -> Mapping[str, Any]:
        """Ask once; raises Refused, or what http.client and json raise."""
        connection = HTTPSConnection(
            self.address,
            self._invitation.port,
            timeout=TIMEOUT_SECONDS,
            source_address=(self._source, 0),
            context=_unverified(),
        )
        try:
            connection.connect()
            self._check_pin(connection)
            self._send(connection, question)
            answer = connection.getresponse()
            content = json.loads(answer.read() or b"{}")
        finally:
            connection.close()
        if answer.status in (429, 500, 502, 503):
            raise HTTPException(content.get("err", f"status {answer.status}"))
        if answer.status != 200:
            raise Refused(str(content.get("err", f"status {answer.status}")))
        return dict(content)

    def _send(self, connection: HTTPSConnection, question: Question) -> None:
        headers = {
            "Authorization": f"Bearer {self._invitation.token}",
            "Content-Type": "application/json",
        }
        sent = None if question.body is None else json.dumps(question.body)
        connection.request(question.method, question.path, sent, headers)

    def _check_pin(self, connection: HTTPSConnection) -> None:
        der = connection.sock.getpeercert(binary_form=True) or b""
        shown = public_key_pin(ssl.DER_cert_to_PEM_cert(der).encode())
        if shown != self._invitation.pins[self.address]:
            raise Refused(
                f"{self.address} shows another key than the join command "
                "was made for; somebody may be in between. Copy the command anew and "
                "compare."
            )


def _after(address: str, addresses: list[str]) -> str:
    """The one that comes after *address*; after the last, the first again."""
    return addresses[(addresses.index(address) + 1) % len(addresses)]


def _unverified() -> ssl.SSLContext:
    # The pin takes the place of the chain, which this host cannot know yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
