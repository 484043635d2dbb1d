"""A server process that has everything made, and waits to be let in.

Making the pages takes longer than all the rest of an opening. So a standby has a
process wait behind a gate. It holds no port: a closed port refuses.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.supervisor.bootstrap import Prepare, begin
from twistlock_console.servers.supervisor.check_channel import (
    CheckClient,
    make_check_pair,
)
from twistlock_console.servers.supervisor.forkserver import context
from twistlock_console.servers.supervisor.server_process import Life
from twistlock_console.servers.supervisor.sockets import Address
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit


@dataclass(frozen=True, slots=True)
class Server:
    """A server to run, and where it will listen. It answers checks."""

    name: str
    addresses: tuple[Address, ...]
    prepare: Prepare


class SpareGone(ListenerError):
    """It died while it waited; its end may not have been told yet."""


class Spare:
    """One process of *server*; it ends when this object is dropped, unless let in.

    Raises ListenerError if the process cannot be started.
    """

    def __init__(
        self,
        server: Server,
        settings: Settings,
        permit: Permit,
        on_end: Callable[[Life], None],
    ) -> None:
        try:
            self._report, report = context.Pipe(duplex=False)
            gate, self._gate = context.Pipe(duplex=False)
            ours, checks = make_check_pair()
        except OSError as error:
            sentence = f"{server.name} cannot be started: {describe_error(error)}"
            raise ListenerError(sentence) from error
        self.checks = CheckClient(ours)
        arguments = (server.prepare, settings, permit, report, gate, checks)
        process = context.Process(
            target=begin, args=arguments, name=server.name, daemon=True
        )
        with report, gate, checks:
            try:
                self.life = Life(process, on_end)
            except ListenerError:
                self._close()
                raise

    def let_in(self, seconds: float) -> None:
        """Have it serve; return when it says that it does.

        Raises SpareGone if it died while it waited, and ListenerError.
        """
        try:
            self._open_gate()
            self.life.wait_for_report(self._report, seconds)
        except OSError as error:
            raise ListenerError(
                f"the process is gone: {describe_error(error)}"
            ) from error
        finally:
            self._close()

    def _open_gate(self) -> None:
        try:
            self._gate.send(True)
        except OSError as error:
            raise SpareGone(
                f"the waiting process is gone: {describe_error(error)}"
            ) from error

    def _close(self) -> None:
        self._report.close()
        self._gate.close()
