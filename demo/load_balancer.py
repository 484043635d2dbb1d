"""Run HAProxy in front of the three nodes, if it is installed."""

import os
import shutil
import subprocess
from collections.abc import Callable

from demo.events import HTTPS_PORT, LOAD_BALANCER, NODES
from demo.state import DemoState
from plugins.ha.load_balancer.files import shipped
from plugins.ha.load_balancer.templates import LoadBalancerKind
from twistlock_console.common.errors import ConsoleError
from twistlock_console.settings.host import bind_problem
from twistlock_console.system.processes import end_group, with_parent_death_signal

START_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0


class LoadBalancer:
    """Runs HAProxy with the shipped configuration."""

    def __init__(self, state: DemoState) -> None:
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, pause: Callable[[float], None]) -> bool:
        """Start HAProxy and wait until it listens; return False if it is not installed.

        Call it from a thread that lives as long as HAProxy should.

        Raises:
            ConsoleError: It does not start.
        """
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            return False
        log = self._state.root / "haproxy.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                with_parent_death_signal(
                    [program, "-db", "-f", str(shipped(LoadBalancerKind.HAPROXY))]
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._variables()},
                start_new_session=True,
            )
        for _ in range(int(START_TIMEOUT_S / 0.05)):
            if bind_problem(LOAD_BALANCER, HTTPS_PORT):
                return True
            if self._process.poll() is not None:
                break
            pause(0.05)
        raise ConsoleError(f"HAProxy does not start; see {log}.")

    def _variables(self) -> dict[str, str]:
        nodes = {f"NODE_{place}": node for place, node in enumerate(NODES, start=1)}
        return {
            **nodes,
            "LISTEN_ON": LOAD_BALANCER,
            "CA_FILE": str(self._state.ca_file),
            "CONNECTIONS": "200",
            "LOG_TO": "stdout",
            "TWISTLOCK_DEMO": "1",
        }

    def stop(self) -> None:
        """Stop HAProxy, and return when it ended."""
        if self._process is not None:
            end_group(self._process.pid, grace=STOP_TIMEOUT_S)
            self._process.wait()
            self._process = None
