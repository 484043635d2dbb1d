"""Define the errors that refuse a login or a request.

* Refused
    * WrongCredentials - the one answer to every failed login
    * TooManyFailures  - the next attempt must wait a little
    * NotLoggedIn      - the request carries no valid session
    * NotAllowed       - the account's role does not include this
"""

import math

from twistlock_console.common.errors import Refused


class WrongCredentials(Refused):
    """The login failed; the sentence does not say whether name or password is wrong."""

    def __init__(self) -> None:
        super().__init__("the username or the password is not right")


class TooManyFailures(Refused):
    """Logins failed too often; the next one must wait *seconds* (login throttle)."""

    def __init__(self, seconds: int) -> None:
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
        if seconds > 90:
            wait = f"{math.ceil(seconds / 60)} minutes"
        super().__init__(f"too many failed logins; try again in {wait}")
        self.seconds = seconds


class NotLoggedIn(Refused):
    """The request carries no session, token or password, or an expired one."""


class NotAllowed(Refused):
    """The role of the account does not allow the request."""

    def __init__(self) -> None:
        super().__init__("your role does not allow this")
