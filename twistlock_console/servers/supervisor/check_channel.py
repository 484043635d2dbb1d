"""The node's check of its own servers, over a socket pair that no client can reach.

A server answers each check twice: its main loop at once, and a thread that is reserved
for checks once the database has answered. So neither a full thread pool nor a full
connection table delays a check, and the node can tell a server that hangs from a
database that does.
"""

import json
import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import cast

from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.request_limits import ServerLoad

MAX_MESSAGE_BYTES = 4096
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check: *problem* is empty if the server works.

    *load* is what its main loop reported, None if that did not answer.
    """

    problem: str = ""
    load: ServerLoad | None = None


def make_check_pair() -> tuple[socket.socket, socket.socket]:
    """Return the node's end and the server's end; raises OSError."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class CheckClient:
    """The node's end; any thread may use it. It closes with this object."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end.detach()
        self._number = 0
        self._turn = threading.Lock()

    def ask(self, seconds: float, *, database: bool = True) -> CheckResult:
        """Check the server; wait *seconds* at most.

        Args:
            seconds: How long the server has to answer.
            database: Also wait until the server's database has answered. Without
                it a check that another thread makes at the moment is enough.

        """
        if not self._turn.acquire(blocking=database):
            return CheckResult()
        try:
            return self._ask(seconds, database=database)
        finally:
            self._turn.release()

    def _ask(self, seconds: float, *, database: bool) -> CheckResult:
        self._number += 1
        deadline = boottime_ns() + round(seconds * SECOND)
        load: ServerLoad | None = None
        try:
            self._send()
            while answer := self._receive(deadline):
                if answer.get("number") != self._number:
                    continue
                if "load" in answer:
                    load = ServerLoad(**cast(dict[str, int], answer["load"]))
                    if not database:
                        return CheckResult(load=load)
                else:
                    return CheckResult(str(answer["problem"]), load)
        except OSError as error:
            return CheckResult(f"it cannot be asked: {describe_error(error)}", load)
        what = "its database does not answer" if load else "its main loop hangs"
        return CheckResult(f"{what} (no answer within {seconds:g} s)", load)

    def __del__(self) -> None:
        """Close the node's end of a server that was never let in, or is gone."""
        os.close(self._end)

    def _send(self) -> None:
        os.write(self._end, json.dumps({"number": self._number}).encode())

    def _receive(self, deadline: int) -> dict[str, object] | None:
        """Return the next message, None when the time is over."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        left = max(deadline - boottime_ns(), 0)
        if not poll.poll(left // MILLISECOND + 1):
            return None
        message = os.read(self._end, MAX_MESSAGE_BYTES)
        if not message:
            raise ConnectionResetError("its process ended")
        answer: dict[str, object] = json.loads(message)
        return answer


class CheckResponder:
    """The server's end, for its main loop; starts one thread, after any fork.

    *probe* asks the database and returns what is wrong, or an empty text.
    """

    def __init__(
        self,
        end: socket.socket,
        probe: Callable[[], str],
        load: Callable[[], ServerLoad],
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._probe = probe
        self._load = load
        self._wanted = threading.Semaphore(0)
        self._number = 0
        self._probing = False
        threading.Thread(target=self._run, name="check", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor on which checks arrive."""
        return self._end.fileno()

    def on_readable(self, _end: object = None) -> None:
        """Answer for the main loop, and have the database asked."""
        try:
            message = self._end.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        if not message:
            return
        self._number = json.loads(message)["number"]
        self._send({"number": self._number, "load": asdict(self._load())})
        if not self._probing:
            self._probing = True
            self._wanted.release()

    def _run(self) -> None:
        while self._wanted.acquire():
            try:
                problem = self._probe()
            except Exception as error:
                log.exception("the check of this server failed")
                problem = f"the check failed: {describe_error(error)}"
            self._probing = False
            self._send({"number": self._number, "problem": problem})

    def _send(self, answer: dict[str, object]) -> None:
        # The node may have given up on this check; it will send another.
        with suppress(OSError):
            self._end.send(json.dumps(answer).encode())
