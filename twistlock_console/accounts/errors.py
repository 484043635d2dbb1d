"""Why a person is not let in.

* Refused
    * WrongCredentials - the one answer to every login that fails
    * TooManyFailures  - the next attempt must wait a little
    * NotLoggedIn      - the request carries no session that is alive
    * NotAllowed       - the account's role does not include this
"""

import math

from twistlock_console.common.errors import Refused


class WrongCredentials(Refused):
    """The login failed; never says whether the name or the password was wrong."""

    def __init__(self) -> None:
        super().__init__("the username or the password is not right")


class TooManyFailures(Refused):
    """Logins failed too often; *seconds* is how long the next one must wait."""

    def __init__(self, seconds: int) -> None:
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
        if seconds > 90:
            wait = f"{math.ceil(seconds / 60)} minutes"
        super().__init__(f"too many failed logins; try again in {wait}")
        self.seconds = seconds


class NotLoggedIn(Refused):
    """The request carries no proof of who sends it, or one that has ended."""


class NotAllowed(Refused):
    """The account is known, and its role does not include this."""

    def __init__(self) -> None:
        super().__init__("your role does not allow this")
