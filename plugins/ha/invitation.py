"""The invitation: what the join command leaves on a host for the node to find."""

import json
from dataclasses import dataclass
from typing import Self

from twistlock_console.errors import IdentityError
from twistlock_console.secret_files import read_secret, write_secret
from twistlock_console.settings import Folders

INVITATION = "invitation.json"


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
