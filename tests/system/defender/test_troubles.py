"""Whatever goes wrong is told in a sentence, and what can be enforced is."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.defender.fake_console import FakeConsole, until
from tests.defender.program import push, running, said, status
from tests.hosts.waiting import wait_for
from tests.system.defender.conftest import NAME, point
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.protocol import (
    Event,
    FilePart,
    HostRule,
    ProcessPart,
    TroubleEvent,
    WatchedPath,
    encode,
)
from twistlock_defender.agent import certificate
from twistlock_defender.cli.main import main
from twistlock_defender.common import problems
from twistlock_defender.common.errors import FolderError
from twistlock_defender.common.folder import Folder
from twistlock_defender.link.outbox import Outbox

# Each starts programs, which take their time on a busy machine.

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def rule(miner: Path, *paths: str) -> HostRule:
    """A rule that ends *miner*."""
    watched = tuple(WatchedPath(path) for path in paths)
    return HostRule(
        "r",
        processes=ProcessPart((miner.name,), "prevent"),
        files=FilePart(watched),
    )


def enforce(folder: Folder, rule: HostRule) -> None:
    """Let the Defender find *rule* on its disk."""
    folder.write("policy.json", encode(push(rule)).encode())


def is_enforced(miner: Path) -> None:
    """Fail unless the denied process is ended."""
    program = subprocess.Popen([miner, "1000"])
    try:
        assert program.wait(60) == -9
    finally:
        program.kill()


def told(folder: Folder, sentence: str) -> None:
    """Wait until status and log both say *sentence*."""

    def both() -> bool:
        shown = " ".join([*status(folder).get("troubles", []), str(error(folder))])
        return sentence in shown and sentence in said(folder)

    try:
        wait_for(both, 60, sentence)
    except TimeoutError:
        raise AssertionError(f"{status(folder)}\n{said(folder)}") from None


def error(folder: Folder) -> str | None:
    """The link's last error."""
    return status(folder).get("error")


@pytest.fixture
def small_disk(tmp_path: Path, folder: Folder) -> Iterator[Folder]:
    """The Defender's folder on a disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    shutil.copytree(folder.path, disk / "defender")
    yield Folder(disk / "defender")
    subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write to *path* until its disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.needs("mount", root=True)
@pytest.mark.parametrize("when", ["meanwhile", "at the start"])
def test_a_full_disk(when: str, small_disk: Folder, miner: Path, console: Path) -> None:
    """Findings are held in memory, and come to the Console when there is room."""
    enforce(small_disk, rule(miner))
    ballast = small_disk.path.parent / "ballast"
    fake = FakeConsole(console)
    if when == "at the start":
        with running(small_disk):
            wait_for(lambda: status(small_disk), 60, "a first start")
        fill(ballast)

    async def scene() -> None:
        async with fake.open() as serving:
            with running(small_disk):
                await until(lambda: "enforcing rule r" in said(small_disk), "the start")
                fill(ballast)
                for _ in range(10):
                    await asyncio.to_thread(is_enforced, miner)
                await asyncio.to_thread(told, small_disk, "findings are held in memory")
                ballast.unlink()
                await until(lambda: status(small_disk)["waiting"] >= 10, "writing")
                await until(lambda: not status(small_disk)["troubles"], "no trouble")
            point(small_disk.path, serving)
            with running(small_disk):
                await until(lambda: len(ended(fake)) >= 10, "the findings")

    asyncio.run(scene())
    assert len(ended(fake)) == 10


def ended(fake: FakeConsole) -> list[str]:
    """The outcomes that came."""
    return [e.outcome for e in fake.events if e.kind == "process"]


@pytest.fixture
def nobodys(folder: Folder, miner: Path) -> Iterator[Folder]:
    """The Defender's folder, and the miner beside it, where any user may go."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    shutil.copy(miner, place / miner.name)
    shutil.copytree(folder.path, place / "defender")
    yield Folder(place / "defender")
    shutil.rmtree(place)


@pytest.mark.needs("setpriv", root=True)
def test_without_rights(nobodys: Folder, miner: Path, tmp_path: Path) -> None:
    """It says what it cannot do, and does the rest."""
    miner = nobodys.path.parent / miner.name
    enforce(nobodys, rule(miner, str(tmp_path)))
    for path in (nobodys.path, *nobodys.path.iterdir()):
        os.chown(path, 65534, 65534)
    with running(nobodys, *NOBODY):
        told(nobodys, "runs as nobody and can end only those of that user")
        told(nobodys, "cannot be watched: not permitted; run the Defender as root")
        program = subprocess.Popen([miner, "1000"])
        wait_for(lambda: "ended: not permitted" in said(nobodys), 60, "a try")
        program.kill()
        program.wait()
        assert subprocess.run([*NOBODY, miner, "1000"], timeout=120).returncode == -9


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("policy.json", b"{}", "policy.json cannot be used"),
        ("outbox.db", b"no database" * 999, "outbox.db is damaged"),
        ("baseline.db", b"no database" * 999, "baseline.db is damaged"),
    ],
)
def test_a_damaged_file(
    name: str,
    content: bytes,
    sentence: str,
    folder: Folder,
    miner: Path,
    console: Path,
) -> None:
    """It is told; what is lost with it comes anew where somebody else has it."""
    enforce(folder, rule(miner, str(miner.parent)))
    (folder / name).write_bytes(content)
    fake = FakeConsole(console, 7, push(rule(miner, str(miner.parent))))

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder):
                await until(lambda: sentence in said(folder), sentence)
                await until(lambda: status(folder).get("rule") == "r", "the rule")
                await asyncio.to_thread(is_enforced, miner)
                await until(lambda: ended(fake), "a finding")

    asyncio.run(scene())


def test_a_policy_that_cannot_be_read(
    folder: Folder, miner: Path, console: Path
) -> None:
    """The one before it holds, and the connection too."""
    enforce(folder, rule(miner))
    fake = FakeConsole(console)

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder):
                await until(lambda: fake.hellos, "a hello")
                bad = '{"type":"policy","version":2,"hash":"x","rule":{"name":7}}'
                await fake.connections[0].send(bad)
                await asyncio.to_thread(
                    told, folder, "a message of the Console was ignored: malformed"
                )
                await asyncio.to_thread(is_enforced, miner)
                await until(lambda: ended(fake), "a finding")
        assert len(fake.connections) == 1

    asyncio.run(scene())
    told_console = [e.sentence for e in fake.events if isinstance(e, TroubleEvent)]
    assert "policy.rule.name" in told_console[0]


def test_no_name_server(folder: Folder, miner: Path) -> None:
    """The sentence names the name."""
    enforce(folder, rule(miner))
    point(folder.path, "console.invalid:8084")
    with running(folder):
        told(folder, "console.invalid cannot be resolved: ")
        is_enforced(miner)


def test_a_certificate_that_expired(
    folder: Folder, miner: Path, console: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before, too; and the Console's refusal is told as it comes."""
    enforce(folder, rule(miner))
    soon = datetime.now(UTC) + timedelta(days=5)
    assert "our certificate expires on" in str(certificate.expiry_problem(soon))
    certificate_of(folder, console, days=0)
    fake = FakeConsole(console)

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder):
                await asyncio.to_thread(told, folder, "our certificate expired on")
                await asyncio.to_thread(told, folder, "certificate may have expired")
                await asyncio.to_thread(is_enforced, miner)

    asyncio.run(scene())
    main(["status", "--folder", str(folder.path)])
    assert "and no Console accepts it; check this" in capsys.readouterr().out


HASTY = """
import sys
from twistlock_defender.link import client
from twistlock_defender.cli.main import main
client.RENEWAL_INTERVAL_S = 0.2
sys.exit(main(sys.argv[1:]))
"""


def test_a_certificate_is_renewed(folder: Folder, console: Path) -> None:
    """By the Console, long before its end; the Defender comes anew with it."""
    certificate_of(folder, console, days=99)
    before = certificate.read_expiry(folder)
    fake = FakeConsole(console)
    fake.renewing = True

    async def scene() -> None:
        async with fake.open() as serving:
            point(folder.path, serving)
            with running(folder, command=(sys.executable, "-c", HASTY)):
                await until(lambda: len(fake.hellos) == 2, "it comes anew")

    asyncio.run(scene())
    assert certificate.read_expiry(folder) > before + timedelta(days=900)
    assert certificate.create_renewal_request(folder, NAME) is None
    folder.create_tls_context()


def certificate_of(folder: Folder, console: Path, *, days: int) -> None:
    """Give the Defender a certificate that is valid for *days*."""
    issued = sign_request(
        console,
        make_request(folder / "key.pem", NAME),
        usage=Usage.DEFENDER,
        common_name=NAME,
        names=[],
        days=days,
    )
    (folder / "certificate.pem").write_bytes(issued)


def test_a_wrong_certificate_is_left_aside(folder: Folder, console: Path) -> None:
    """Garbage, another key's, one that ends sooner: ours stays."""
    ours = (folder / "certificate.pem").read_bytes()
    certificate_of(folder, console, days=1)
    sooner = (folder / "certificate.pem").read_text()
    (folder / "certificate.pem").write_bytes(ours)
    for wrong, told_ in (
        ("garbage", "cannot be read"),
        ((console / "node.pem").read_text(), "another key"),
        (sooner, "not expire later"),
    ):
        with pytest.raises(FolderError, match=told_):
            certificate.store_renewed(folder, wrong)

    assert (folder / "certificate.pem").read_bytes() == ours


CLOCK = """
import sys, time
from pathlib import Path
right, file = time.time, Path(sys.argv.pop(1))
time.time = lambda: right() + float(file.read_text())
from twistlock_defender.cli.main import main
sys.exit(main())
"""


def test_a_clock_that_jumps(folder: Folder, miner: Path, tmp_path: Path) -> None:
    """It is told; nothing waits for a time that has passed or will not come."""
    enforce(folder, rule(miner))
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(folder, command=[sys.executable, "-c", CLOCK, str(clock)]):
        is_enforced(miner)
        wait_for(lambda: status(folder), 60, "a status")
        clock.write_text("-3600")
        told(folder, "this host's clock jumped 3600 s back")
        is_enforced(miner)
        wait_for(lambda: status(folder)["waiting"] >= 3, 60, "the findings")


def test_a_clock_that_jumps_again_and_again(folder: Folder, tmp_path: Path) -> None:
    """All is shown here; the Console is told of the first, each way."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(folder, command=[sys.executable, "-c", CLOCK, str(clock)]):
        wait_for(lambda: status(folder), 60, "a status")
        for ahead, sentence in (
            (-1000, "1000 s back"),
            (-3000, "2000 s back"),
            (0, "3000 s forward"),
            (-4000, "4000 s back"),
        ):
            clock.write_text(str(ahead))
            told(folder, f"this host's clock jumped {sentence}")

    outbox = Outbox(folder / "outbox.db", 1 << 24)
    findings = " ".join(entry.body for entry in outbox.batch(0, 99, 1 << 24))
    outbox.close()
    jumps = re.findall(r"clock jumped (\w+ s \w+)", findings)
    assert jumps == ["1000 s back", "3000 s forward"]


def test_what_was_told_is_forgotten_when_it_would_be_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sentences hold names and numbers: there is no end to them."""
    monkeypatch.setattr(problems, "REPEAT_INTERVAL_S", 0.0)
    found: list[Event] = []
    kept = problems.Problems(found.extend)

    for number in range(20):
        kept.add("files", f"file {number} cannot be read")

    assert len(found) == 20
    assert len(kept._reported) < 20
