"""A node process that does nothing but hold the ports open: something to kill.

Reads its settings as arguments: data folder, three ports, and for how many
milliseconds to grant the permit (0: without an end). Prints the ids of all processes
that it started.
"""

import os
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

from twistlock_console.common.clock import MILLISECOND, boottime_ns
from twistlock_console.events.bus import Bus
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor import forkserver as warm
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import FOREVER, Permit


def main() -> None:
    """Open the ports, set the permit's end, and wait to be killed."""
    api, pages, defenders, milliseconds = (int(word) for word in sys.argv[2:])
    settings = Settings(
        node_address="127.0.0.1",
        data_folder=Path(sys.argv[1]),
        management_port_https=api,
        management_port_ui=pages,
        communication_port=defenders,
    )
    warm.start([*warm.MODULES, "tests.listeners.small_app"])
    permit = Permit()
    permit.grant(1, FOREVER)
    ports = ServicePorts(
        settings, permit, Bus(), app="tests.listeners.small_app:create"
    )
    ports.open_all()
    if milliseconds:
        permit.grant(1, boottime_ns() + milliseconds * MILLISECOND)
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    words = [os.getpid(), server, *ports.pids().values(), permit.deadline_ns]
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()
    time.sleep(60)


if __name__ == "__main__":
    main()
