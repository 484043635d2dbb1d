"""Rules of the logs of a process from its start to its end."""

import os
import subprocess
import sys

from twistlock_console.logs.setup import log_file
from twistlock_console.settings import Settings


def test_each_line_is_in_the_file_once(settings: Settings) -> None:
    """Also where whoever starts the node sends standard error into the same file."""
    program = (
        "import logging, sys; from pathlib import Path\n"
        "from twistlock_console.logs.setup import log_as_node\n"
        "from twistlock_console.settings import Settings\n"
        "logging.getLogger().setLevel('INFO')\n"
        "made = Settings(node_address='127.0.0.1', data_folder=Path(sys.argv[1]))\n"
        "with log_as_node(made): logging.info('only once')\n"
    )
    with log_file(settings.folders).open("a") as file:
        subprocess.run(
            [sys.executable, "-c", program, str(settings.data_folder)],
            stderr=file,
            timeout=120,
            check=True,
        )

    assert log_file(settings.folders).read_text().count("only once") == 1


def test_a_node_ends_however_slow_its_disk_is(settings: Settings) -> None:
    """Also when no more lines may wait; the disk is a pipe that is read at the end."""
    program = (
        "import logging, sys; from pathlib import Path\n"
        "from twistlock_console.logs import setup as logs\n"
        "from twistlock_console.settings import *\n"
        "logging.getLogger().setLevel('INFO'); logs.MAX_QUEUED_RECORDS = 1\n"
        "made = Settings(node_address='127.0.0.1', data_folder=Path(sys.argv[1]))\n"
        "with logs.log_as_node(made):\n"
        "    for _ in range(9): logging.info('x' * 1_000_000)\n"
        "    print('ending', flush=True)\n"
    )
    os.mkfifo(log_file(settings.folders))
    disk = os.open(log_file(settings.folders), os.O_RDONLY | os.O_NONBLOCK)
    with (
        os.fdopen(disk, "rb") as reading,
        subprocess.Popen(
            [sys.executable, "-c", program, str(settings.data_folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as node,
    ):
        assert node.stdout
        assert node.stdout.readline() == b"ending\n"
        os.set_blocking(disk, True)
        # To its end: the file may be closed, and opened once more for what waits.
        while node.poll() is None:
            reading.read(65_536)

        assert node.wait(60) == 0
