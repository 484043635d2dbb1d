"""Ending a process that a rule forbids, and no other one that got its number since."""

import os
import select
import signal
from contextlib import closing

from twistlock_defender.common.proc import look_at
from twistlock_defender.common.process import Process

END_SECONDS = 1.0
ENDED = "ended"


class _Held:
    """A process held by a descriptor, which its number's next owner cannot take."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def close(self) -> None:
        os.close(self._fd)

    def kill(self) -> bool:
        """Send SIGKILL; says whether the process is gone within a second."""
        signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(END_SECONDS * 1000))


def end(process: Process) -> str:
    """End *process* and say how that went, as the protocol has it."""
    if process.pid in (1, os.getpid()):
        return "could not be ended: the host or the Defender would go with it"
    try:
        with closing(_Held(process.pid)) as held:
            now = look_at(process.pid)
            if now is None or now.started != process.started:
                return "could not be ended: it had ended by itself"
            return (
                ENDED if held.kill() else "could not be ended: it hangs in the kernel"
            )
    except ProcessLookupError:
        return "could not be ended: it had ended by itself"
    except PermissionError:
        return "could not be ended: not permitted; run the Defender as root"
    except OSError as error:
        return f"could not be ended: {error.strerror}"
