"""Define the errors that the Console raises.

* ConsoleError
    * SettingsError       - twistlock.cfg holds a value we cannot use
    * IdentityError       - a certificate, key or secret on disk is missing or unusable
    * DatabaseError       - mongod could not be started, or did not answer
    * ListenerError       - a port could not be opened, or would not close
    * NodeUnreachable     - a node API did not answer
    * Busy                - too much work of one kind is under way; try again
    * Interrupted         - a signal asked the program to end before it was done
    * Refused             - the request is understood and not allowed; says why
        * NotFound        - what the request names does not exist
        * Removed         - the node that asks was removed from the cluster

Every message is one sentence that an operator can act on.
"""


class ConsoleError(Exception):
    """An error that the Console reports to an operator in one sentence."""


class SettingsError(ConsoleError):
    """The configuration holds unusable values; the message names all of them."""


class IdentityError(ConsoleError):
    """A certificate, key or secret on disk is missing or unusable."""


class DatabaseError(ConsoleError):
    """Our mongod could not be started, or did not answer in time."""


class ListenerError(ConsoleError):
    """A port could not be opened, or would not close."""


class NodeUnreachable(ConsoleError):
    """The node API at an address did not answer in time.

    *refused* is true if the host answered that nothing listens on the port.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class Busy(ConsoleError):
    """The Console does as much work of one kind as it accepts (backpressure).

    The caller may try again after *retry_after_s* seconds.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Interrupted(ConsoleError):
    """A signal asked the program to end before it was done."""


class Refused(ConsoleError):
    """The request was understood and is not allowed; the message says why."""


class NotFound(Refused):
    """The thing that the request names does not exist."""


class Removed(Refused):
    """The node that asks was removed from the cluster."""
