"""`twistlock-defender run` as a process of its own, and what it shows."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hosts.node import PROJECT
from twistlock_console.protocol import HostRule, PolicyPushed, hash_rule
from twistlock_console.system.processes import with_parent_death_signal
from twistlock_defender.common.folder import Folder

COMMAND = (sys.executable, "-m", "twistlock_defender")


@contextmanager
def running(
    folder: Folder, *before: str, command: Sequence[str] = COMMAND
) -> Iterator[subprocess.Popen[bytes]]:
    """A Defender in *folder*, ended in an orderly way afterwards.

    It is started by *before*, as *command*.
    """
    words = [*before, *command, "run", "--folder", str(folder.path)]
    words[0] = shutil.which(words[0]) or words[0]
    with _log(folder).open("ab") as log:
        program = subprocess.Popen(
            with_parent_death_signal(words), cwd=PROJECT, stderr=log
        )
    try:
        yield program
    finally:
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0, said(folder)


def said(folder: Folder) -> str:
    """What it has logged, over all its runs."""
    return _log(folder).read_text()


def status(folder: Folder) -> dict[str, Any]:
    """What the status shows; {} before there is any."""
    try:
        return dict(json.loads((folder / "status.json").read_text()))
    except (OSError, ValueError):
        return {}


def _log(folder: Folder) -> Path:
    # Not in the folder above: a test may fill its disk.
    return folder.path.parent.with_suffix(".log")


def push(rule: HostRule | None, version: int = 1) -> PolicyPushed:
    """The message that brings *rule*."""
    return PolicyPushed(version, hash_rule(rule), rule)
