"""Denied processes are found within a second, and ended where the rule says so."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for
from twistlock_console.protocol import Event, HostRule, ProcessEvent, ProcessPart
from twistlock_defender.common.problems import Problems
from twistlock_defender.processes.monitor import ProcessMonitor
from twistlock_defender.processes.proc import kill_process, read_process
from twistlock_defender.processes.rules import Denied, Process


class Found(list[ProcessEvent]):
    """What the watch reported."""

    def note(self, events: Sequence[Event]) -> None:
        """Keep *events*."""
        self.extend(event for event in events if isinstance(event, ProcessEvent))


@pytest.fixture
def found() -> Found:
    """Nothing yet."""
    return Found()


@pytest.fixture
def watch(found: Found) -> Iterator[ProcessMonitor]:
    """A watch at work."""
    watch = ProcessMonitor(found.note, Problems(found.note))
    watch.open()
    yield watch
    watch.close()


def rule(*denied: str, effect: str = "prevent") -> HostRule:
    """A rule that denies some processes."""
    assert effect in ("alert", "prevent")
    part = ProcessPart(denied, "prevent" if effect == "prevent" else "alert")
    return HostRule("no miners", processes=part)


@pytest.mark.parametrize(
    ("globs", "denied"),
    [
        pytest.param(["xmrig"], True, id="name"),
        pytest.param(["xm*"], True, id="glob of a name"),
        pytest.param(["/opt/*/xmrig"], True, id="path"),
        pytest.param(["*/xmrig"], True, id="end of a path"),
        pytest.param(["miner"], True, id="what the kernel calls it"),
        pytest.param(["/opt/xmrig"], False, id="another path"),
        pytest.param(["mrig"], False, id="part of a name"),
        pytest.param(["nc", "x[a-m]rig"], True, id="one of several"),
        pytest.param([], False, id="nothing"),
    ],
)
def test_globs_are_of_names_or_of_paths(globs: list[str], denied: bool) -> None:
    """A glob with a slash is one of a path; case matters."""
    process = Process(7, 1, "/opt/tools/xmrig", "miner", "/opt/tools/xmrig")

    assert (process in Denied(ProcessPart(tuple(globs)))) is denied


def test_a_denied_process_is_ended(
    watch: ProcessMonitor, found: Found, miner: Path
) -> None:
    """And told with what it was."""
    watch.apply(rule(f"{miner.name[:-1]}?"))
    program = subprocess.Popen([miner, "1000"])

    assert program.wait(60) == -9
    [event] = wait_for(lambda: found, 5, "a finding")
    assert (event.pid, event.path, event.outcome) == (program.pid, str(miner), "ended")
    assert event.command == f"{miner} 1000"
    assert event.rule == "no miners"


def test_a_process_that_becomes_another_is_found(
    watch: ProcessMonitor, found: Found, miner: Path
) -> None:
    """It was looked at before, as a shell; and each program is told once."""
    watch.apply(rule(str(miner), effect="alert"))
    script = f'read go; exec "{miner}" 1000'
    program = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE)
    wait_for(lambda: watch._known.get(program.pid), 5, "the shell was looked at")
    assert program.stdin is not None
    program.stdin.write(b"go\n")
    program.stdin.flush()

    [event] = wait_for(lambda: found, 5, "a finding")
    assert (event.pid, event.outcome, event.effect) == (program.pid, "alerted", "alert")
    watch.apply(None)
    program.kill()
    program.communicate()
    assert len(found) == 1


def test_only_the_very_process_is_ended(miner: Path) -> None:
    """One that has got the same number since is not."""
    program = subprocess.Popen([miner, "1000"])
    process = wait_for(lambda: read_process(program.pid), 5, "the program")
    earlier = Process(process.pid, process.started - 1, "", "", "")

    outcome = kill_process(earlier)

    assert outcome == "could not be ended: it had ended by itself"
    assert program.poll() is None
    assert kill_process(process) == "ended"
    program.wait()
    assert kill_process(process) == "could not be ended: it had ended by itself"


@pytest.mark.parametrize("pid", [1, pytest.param(os.getpid(), id="own")])
def test_the_defender_does_not_end_itself(pid: int) -> None:
    """Nor the host's first process, whatever the rule says."""
    assert "would go with it" in kill_process(Process(pid, 1, "", "", ""))


def test_it_looks_again_when_it_may_open_files_again(miner: Path) -> None:
    """A rule that comes while there are no descriptors left is enforced later."""
    script = f"""
import resource, subprocess, time
from twistlock_console.protocol import HostRule, ProcessPart
from twistlock_defender.processes.monitor import ProcessMonitor
from twistlock_defender.common.problems import Problems
problems = Problems(lambda events: None)
watch = ProcessMonitor(lambda events: None, problems)
watch.open()
least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
watch.apply(HostRule("r", processes=ProcessPart(("{miner.name}",), "prevent")))
while not problems.current():
    time.sleep(0.02)
print(*problems.current())
resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))
print(subprocess.Popen(["{miner}", "1000"]).wait(10))
watch.close()
"""
    command = [sys.executable, "-c", script]

    said = subprocess.check_output(command, cwd=PROJECT, text=True, timeout=120)

    trouble, ended = said.splitlines()
    assert trouble.startswith("processes cannot be scanned: Too many")
    assert ended == "-9"


@pytest.mark.needs("setpriv", root=True)
def test_without_the_right_it_says_so() -> None:
    """The sentence tells what to do."""
    program = subprocess.Popen(["sleep", "1000"])
    script = (
        "from twistlock_defender.processes.proc import kill_process\n"
        "from twistlock_defender.processes.proc import read_process\n"
        f"print(kill_process(read_process({program.pid})))"
    )
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    said = subprocess.check_output([*user, sys.executable, "-c", script], text=True)

    program.kill()
    program.wait()
    assert said == "could not be ended: not permitted; run the Defender as root\n"
