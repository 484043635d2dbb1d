"""The policy that the Console sent last, kept on disk: it holds without a Console."""

from twistlock_console.protocol import (
    PolicyPushed,
    ProtocolError,
    decode_from_console,
    encode,
)
from twistlock_defender.common.folder import Folder
from twistlock_defender.common.problems import Troubles

NONE = PolicyPushed(0, "", None)
FILE = "policy.json"
TOPIC = "policy"


class StandingPolicy:
    """Remembers in *folder*; a damaged file is told, and the Console asked anew."""

    def __init__(self, folder: Folder, troubles: Troubles) -> None:
        self._folder = folder
        self._troubles = troubles
        self.current = self._read()

    def keep(self, policy: PolicyPushed) -> None:
        """Take *policy* up; on a full disk it holds until the next start only."""
        self.current = policy
        try:
            self._folder.write(FILE, encode(policy).encode())
        except OSError as error:
            self._troubles.tell(
                TOPIC,
                f"{self._folder / FILE} cannot be written ({error.strerror}); the "
                "policy holds, but not over a restart",
            )
        else:
            self._troubles.clear(TOPIC)

    def _read(self) -> PolicyPushed:
        path = self._folder / FILE
        try:
            message = decode_from_console(path.read_text())
            if isinstance(message, PolicyPushed):
                return message
            reason = "it is no policy"
        except FileNotFoundError:
            return NONE
        except (OSError, ValueError, ProtocolError) as error:
            reason = str(error)
        self._troubles.tell(
            TOPIC,
            f"{path} cannot be used ({reason}); nothing is enforced until the Console "
            "sends the policy again",
        )
        return NONE
