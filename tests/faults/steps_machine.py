"""What can be done to a host's clock, disks, ports and processors, as steps."""

import sys
import time

from tests.faults.stage import Stage
from tests.faults.steps import FILLER, Step
from tests.hosts.fake_clock import SECONDS_TO_NOTICE


def step_clock(how: str, who: str = "primary", wait: bool = True) -> Step:
    """Set the wall clock off, as `FakeClock.set` says, and wait until that is felt."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            assert node.clock is not None, "this scenario needs hosts with clocks"
            node.clock.set(how)
        if wait:
            time.sleep(SECONDS_TO_NOTICE)

    return step


def strobe_clock(offset: int, times: int, who: str = "primary") -> Step:
    """Set the wall clock forth and back, again and again."""

    def step(stage: Stage) -> None:
        for _ in range(times):
            step_clock(f"+{offset}", who)(stage)
            step_clock(f"-{offset}", who)(stage)

    return step


def fill(folder: str, who: str = "primary") -> Step:
    """Leave no room on the disk of the node's "database" or "log"."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            file = getattr(node.settings.folders, folder) / FILLER
            node.host.run("sh", "-c", f"cat /dev/zero >{file} 2>/dev/null || true")

    return step


def occupy(port: int, seconds: float, who: str = "standby") -> Step:
    """Have another program listen on *port*, so that the node cannot."""

    def step(stage: Stage) -> None:
        listen = f"import socket, time; s = socket.create_server(('', {port}));"
        for node in stage.nodes(who):
            program = f"{listen} time.sleep({seconds})"
            node.host.start(sys.executable, "-I", "-S", "-c", program)

    return step


def burn(seconds: float, who: str = "all", each: int = 2) -> Step:
    """Keep processors busy on the host, for as long."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            for _ in range(each):
                node.host.start(
                    "timeout", str(seconds), "sh", "-c", "while :; do :; done"
                )

    return step
