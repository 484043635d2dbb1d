"""The invitation: what the join command leaves on a host for the node to find."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.errors import IdentityError
from twistlock_console.settings import Folders

INVITATION = "invitation.json"
NOT_INVITED = (
    "HIGH_AVAILABILITY_STATE=SECONDARY, and {folder} belongs to no cluster: it is not "
    "set by hand. To add this host, copy the join command from Manage > "
    "System > High Availability of the primary and run it here. If this host was a "
    "node before and its folder was emptied, remove that node on the page first, then "
    "run the join command. For a Console of its own set HIGH_AVAILABILITY_STATE=PRIMARY"
)


@dataclass(frozen=True, slots=True)
class Invitation:
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
        """The pins of all that may be the primary, by address; the first one first."""
        return {self.address: self.pin, **self.others}

    def informed(self, answer: Mapping[str, Any]) -> Self:
        """The invitation as of the cluster's *answer*, which may tell of no nodes."""
        told = answer.get("nodes") or self.others
        return replace(self, others={str(node): str(told[node]) for node in told})

    @classmethod
    def read(cls, folders: Folders) -> Self:
        """The invitation that the join command left; raises IdentityError."""
        path = folders.secrets / INVITATION
        if not path.exists():
            raise IdentityError(NOT_INVITED.format(folder=folders.root))
        try:
            stored = json.loads(read_secret(path))
            return cls(
                address=str(stored["address"]),
                port=int(stored["port"]),
                pin=str(stored["pin"]),
                token=str(stored["token"]),
            ).informed({"nodes": stored.get("others")})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IdentityError(
                f"{path} is damaged; run the join command from the primary's page again"
            ) from error

    def write(self, folders: Folders) -> None:
        """Leave the invitation where the node looks for it at its start."""
        write_secret(folders.secrets / INVITATION, json.dumps(asdict(self)).encode())
