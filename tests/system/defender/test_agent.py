"""The Defender as an operator runs it: `twistlock-defender run` and `status`."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.defender.fake_console import FakeConsole, until
from tests.defender.program import push, running, status
from tests.hosts.waiting import wait_for
from tests.system.defender.conftest import point
from twistlock_console.protocol import (
    ComplianceEvent,
    CompliancePart,
    FileEvent,
    FilePart,
    HostRule,
    ProcessEvent,
    ProcessPart,
    Scan,
    TroubleEvent,
    WatchedPath,
    encode,
    hash_rule,
)
from twistlock_defender.cli.main import main
from twistlock_defender.common.folder import Folder

# Each starts programs, which take their time on a busy machine.


def screen(folder: Folder, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of `status`, and its screen."""
    code = main(["status", "--folder", str(folder.path)])
    return code, capsys.readouterr().out


def memory_mb(pid: int) -> float:
    """The resident memory of *pid*."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


@pytest.mark.timed
def test_a_policy_is_enforced_told_and_kept(
    console: Path, folder: Folder, miner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the Console's word to the findings that come back; light while at it."""
    watched = miner.parent / "watched"
    watched.mkdir()
    rule = HostRule(
        "everything",
        processes=ProcessPart((miner.name,), "prevent"),
        files=FilePart((WatchedPath(str(watched)),)),
        compliance=CompliancePart(("shadow-rights",)),
    )
    fake = FakeConsole(console, 7, push(rule, 12))

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder) as defender:
                await until(lambda: status(folder).get("rule"), "the policy")
                program = subprocess.Popen([miner, "1000"])
                await until(lambda: program.poll() == -9, "its end")
                (watched / "new").write_text("new")
                kinds = (ProcessEvent, FileEvent, ComplianceEvent)
                for kind in kinds:
                    await until(
                        lambda kind=kind: any(isinstance(e, kind) for e in fake.events),
                        kind.__name__,
                    )
                await until(lambda: status(folder)["waiting"] == 0, "an empty outbox")
                code, shown = screen(folder, capsys)
                assert code == 0
                assert memory_mb(defender.pid) < 60
        assert f"connected to {serving} since" in shown
        assert "version 12, rule everything" in shown

    asyncio.run(scene())
    assert fake.hellos[0].facts.memory_gb > 0
    code, shown = screen(folder, capsys)
    assert (code, "no; start the Defender" in shown) == (1, True)


def test_it_needs_no_console(
    console: Path, folder: Folder, miner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy on disk is enforced from the start; findings wait for the Console."""
    rule = HostRule("alone", processes=ProcessPart((miner.name,), "prevent"))
    folder.write("policy.json", encode(push(rule)).encode())
    ended: list[int] = []
    for _ in range(2):
        with running(folder):
            program = subprocess.Popen([miner, "1000"])
            assert program.wait(60) == -9
            ended.append(program.pid)
            wait_for(lambda: status(folder).get("waiting") == len(ended), 60, "waiting")
    code, shown = screen(folder, capsys)
    assert (code, "not connected since" in shown) == (1, True)
    fake = FakeConsole(console)

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder):
                await until(lambda: len(processes(fake)) == 2, "the findings")

    asyncio.run(scene())
    assert [event.pid for event in processes(fake)] == ended
    assert fake.hellos[0].policy == hash_rule(rule)


def processes(fake: FakeConsole) -> list[ProcessEvent]:
    """The findings of processes that came."""
    return [event for event in fake.events if isinstance(event, ProcessEvent)]


def test_a_scan_on_demand_is_answered(console: Path, folder: Folder) -> None:
    """With a whole run of the rule's checks, and unknown ones told."""
    part = CompliancePart(("other-roots", "no-such-check"))
    rule = HostRule("checks", compliance=part)
    fake = FakeConsole(console, 7, push(rule), Scan())

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder):
                await until(lambda: runs(fake), "a run")
                before = len(runs(fake))
                await fake.connections[0].send(encode(Scan()))
                await until(lambda: len(runs(fake)) > before, "another run")

    asyncio.run(scene())
    [result] = runs(fake)[-1].results
    assert (result.id, result.passed) == ("other-roots", True)
    assert "checks that this Defender does not have: no-such-check" in troubles(fake)[0]


def runs(fake: FakeConsole) -> list[ComplianceEvent]:
    """The runs of checks that came."""
    return [event for event in fake.events if isinstance(event, ComplianceEvent)]


def troubles(fake: FakeConsole) -> list[str]:
    """The troubles that came."""
    return [e.sentence for e in fake.events if isinstance(e, TroubleEvent)]


def test_one_defender_a_folder(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one says so and ends."""
    with running(folder):
        wait_for(lambda: status(folder), 60, "a status")
        code = main(["run", "--folder", str(folder.path)])

    assert code == 1
    assert "another Defender runs in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        pytest.param(
            lambda path: (path / "settings.json").unlink(),
            "settings.json: No such file or directory; enrol it",
            id="not enrolled",
        ),
        pytest.param(
            lambda path: (path / "settings.json").write_text('{"defender": ""}'),
            "settings.json: defender: String should have at least 1 character",
            id="bad settings",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_sentence(
    spoil: Callable[[Path], object],
    sentence: str,
    folder: Folder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1."""
    spoil(folder.path)

    code = main(["run", "--folder", str(folder.path)])

    assert code == 1
    assert sentence in capsys.readouterr().err
