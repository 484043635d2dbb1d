"""The worker process, as the node sees it: started, listened to, ended."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import twistlock_console
from twistlock_console.backups.format.progress import Progress, Tell
from twistlock_console.backups.jobs.task import Task
from twistlock_console.common.errors import ConsoleError
from twistlock_console.system.child_processes import bound_to_us

NICENESS = 15
ROOT = Path(twistlock_console.__file__).parents[1]
log = logging.getLogger(__name__)


class Child:
    """Does one *task*; the thread that calls *run* must live as long as it does."""

    def __init__(self, task: Task, tell: Tell) -> None:
        self._task = task
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = ""

    @property
    def pid(self) -> int | None:
        """The worker's process id, once it has one."""
        return self._process.pid if self._process else None

    def run(self) -> dict[str, Any]:
        """Do it and give the result; raises ConsoleError with what went wrong."""
        process = self._process = subprocess.Popen(
            bound_to_us(_gently([sys.executable, "-m", f"{__package__}.worker"])),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,
        )
        with process:
            if self._killed:
                process.kill()  # it was ended before it had begun
            if process.stdin is None or process.stdout is None:
                raise AssertionError("both are pipes")
            try:
                process.stdin.write(self._task.as_json())
                process.stdin.close()
            except BrokenPipeError:
                log.debug("the worker ended before it had read its task")
            last: dict[str, Any] = {}
            for line in process.stdout:
                last = json.loads(line)
                if progress := last.get("progress"):
                    self._tell(Progress(**progress))
        return self._outcome(last, process.returncode)

    def kill(self, reason: str) -> None:
        """End it at once; what it began is swept up later."""
        self._killed = reason
        if self._process is not None:
            self._process.kill()

    def _outcome(self, last: dict[str, Any], code: int) -> dict[str, Any]:
        if "result" in last:
            return dict(last["result"])
        if "error" in last:
            raise ConsoleError(str(last["error"]))
        raise ConsoleError(
            self._killed or f"its process ended with exit code {code}; see the log"
        )


def _python_path() -> str:
    """Return where the worker finds this checkout, and the plugins that we have."""
    before = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(filter(None, (str(ROOT), before)))


def _gently(argv: list[str]) -> list[str]:
    """The same command behind whatever else this host does."""
    nice, ionice = shutil.which("nice"), shutil.which("ionice")
    if ionice:
        argv = [ionice, "-t", "-c", "3", *argv]
    return [nice, "-n", str(NICENESS), *argv] if nice else argv
