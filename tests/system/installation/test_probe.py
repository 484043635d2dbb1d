"""What is found at a path, as the account that is to use it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from twistlock_console.host_folders import account as accounts
from twistlock_console.host_folders.account import (
    Account,
    AttemptFailed,
    attempt,
    find_account,
)
from twistlock_console.host_folders.probe import Probe
from twistlock_console.host_folders.rules import MARK, PathKind, Use

pytestmark = pytest.mark.needs(root=True)
ACCOUNT = Account("twistlock", 62674, 62674)


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that every account may enter, as the folders of a host are."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def probe() -> Probe:
    """For an account that does not exist yet."""
    return Probe(ACCOUNT)


def give(folder: Path, mode: int = 0o700) -> Path:
    """Make a folder of the account."""
    folder.mkdir(mode=0o700, parents=True)
    folder.chmod(mode)
    os.chown(folder, ACCOUNT.uid, ACCOUNT.gid)
    return folder


def problem(probe: Probe, path: Path, use: Use = Use.DATA) -> str:
    """Why the account cannot use *path*; "" if it can."""
    return probe.inspect(use, path).account_problem or ""


def test_a_missing_folder_is_tried(probe: Probe, base: Path) -> None:
    """As root may make it; nothing is left, not even a time of change."""
    before = base.stat().st_mtime_ns

    place = probe.inspect(Use.DATA, base / "a/b")

    assert (place.kind, place.account_problem, place.entries) == (
        PathKind.MISSING,
        None,
        (),
    )
    assert list(base.iterdir()) == []
    assert base.stat().st_mtime_ns == before


def test_a_folder_of_the_account_is_fine(probe: Probe, base: Path) -> None:
    """Whatever is in it is listed."""
    folder = give(base / "data")
    (folder / "x").touch()

    place = probe.inspect(Use.VOLUME, folder)

    assert (place.kind, place.account_problem) == (PathKind.FOLDER, None)
    assert place.entries == ("x",)
    assert not place.is_ours


def test_a_folder_of_root_is_no_folder_of_the_account(probe: Probe, base: Path) -> None:
    """The message has the command that would help, with blanks in the name."""
    folder = base / "my data"
    folder.mkdir()

    said = problem(probe, folder)

    assert said.startswith(
        "cannot be written by the account twistlock (id 62674): Permission denied; "
    )
    assert said.endswith(f"let the account have it: chown 62674:62674 '{folder}'")
    subprocess.run(said.partition("have it: ")[2], shell=True, check=True)  # noqa: S602
    assert problem(probe, folder) == ""


def test_groups_of_the_account_count(base: Path) -> None:
    """A share for a group, with the mode that it has."""
    folder = base / "share"
    folder.mkdir()
    os.chown(folder, 0, 62000)
    folder.chmod(0o2770)
    member = Account("twistlock", 62674, 62674, (62674, 62000))

    assert problem(Probe(member), folder, Use.VOLUME) == ""
    assert "Permission denied" in problem(Probe(ACCOUNT), folder, Use.VOLUME)


def test_a_closed_folder_on_the_way_is_named(probe: Probe, base: Path) -> None:
    """For data, backups and programs."""
    closed = base / "closed"
    closed.mkdir(mode=0o700)

    for use in (Use.DATA, Use.VOLUME, Use.PROGRAMS):
        assert problem(probe, closed / "x", use).endswith(f"may not enter {closed}")


def test_settings_of_the_account_have_root_make_nothing(base: Path) -> None:
    """The message has the command, and it works."""
    probe = Probe(ACCOUNT, root_makes=False)
    own = give(base / "own")

    said = problem(probe, base / "new one", Use.VOLUME)

    assert said.startswith("is not there, and the settings are not root's own; make it")
    command = said.partition("(")[2].partition(")")[0]
    subprocess.run(command, shell=True, check=True)  # noqa: S602
    assert problem(probe, base / "new one", Use.VOLUME) == ""
    assert problem(probe, own / "new", Use.VOLUME) == ""


@pytest.mark.parametrize("use", [Use.DATA, Use.PROGRAMS])
def test_where_nothing_can_be_made_nothing_is(probe: Probe, use: Use) -> None:
    """With the system's reason."""
    assert "in /proc: No such file or directory" in problem(probe, Path("/proc/x"), use)


def test_a_full_file_system_is_reported(base: Path, probe: Probe) -> None:
    """Before the installation fails on it."""
    folder = give(base / "full")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,uid=62674,mode=700", "t", folder]
    subprocess.run(mount, check=True)
    try:
        fill = ["dd", "if=/dev/zero", f"of={folder}/filling", "status=none"]
        subprocess.run(fill, check=False, stderr=subprocess.DEVNULL)
        said = problem(probe, folder)
        in_memory = probe.inspect(Use.DATA, folder).is_in_memory
    finally:
        subprocess.run(["umount", folder], check=True)

    assert "No space left on device" in said
    assert in_memory


def test_mount_options_are_seen(base: Path, probe: Probe) -> None:
    """Read-only, and without programs."""
    folder = give(base / "mounted")
    mount = ["mount", "-t", "tmpfs", "-o", "ro,noexec", "t", folder]
    subprocess.run(mount, check=True)
    try:
        read_only = problem(probe, folder)
        programs = probe.inspect(Use.PROGRAMS, folder)
    finally:
        subprocess.run(["umount", folder], check=True)

    assert "Read-only file system" in read_only
    assert programs.forbids_programs
    assert "cannot be written in" in str(programs.account_problem)


def test_kinds_are_distinguished(probe: Probe, base: Path) -> None:
    """Files, folders, and links that lead nowhere, also on the way."""
    (base / "file").touch()
    (base / "lost").symlink_to(base / "none")
    (base / "loop").symlink_to(base / "loop")
    (base / "link").symlink_to(base)
    kinds = {
        "file": PathKind.FILE,
        "link": PathKind.FOLDER,
        "link/none": PathKind.MISSING,
        "lost": PathKind.BROKEN_LINK,
        "lost/data": PathKind.BROKEN_LINK,
        "loop": PathKind.BROKEN_LINK,
        "none": PathKind.MISSING,
    }

    found = {name: probe.inspect(Use.DATA, base / name).kind for name in kinds}

    assert found == kinds
    assert str(probe.inspect(Use.DATA, base / "link/x").real) == str(base / "x")


def test_files_are_read_and_programs_run_as_the_account(
    probe: Probe, base: Path
) -> None:
    """A key that root alone may read is none for the service."""
    key, program = base / "key", base / "mongod"
    key.write_bytes(b"k")
    key.chmod(0o600)
    program.write_text("#!/bin/sh\n[ $(id -u) = 62674 ] && echo db version\n")
    program.chmod(0o755)

    assert "cannot be read by the account" in problem(probe, key, Use.KEY_FILE)
    key.chmod(0o644)
    assert problem(probe, key, Use.KEY_FILE) == ""
    assert problem(probe, program, Use.MONGOD) == ""
    assert "shows no db version" in problem(probe, Path("/bin/true"), Use.MONGOD)
    program.chmod(0o600)
    assert "cannot be run: Permission denied" in problem(probe, program, Use.MONGOD)


def test_ours_is_recognised(base: Path) -> None:
    """By the mark, by what is installed, or by what only a Console makes."""
    marked, used, old, other = (give(base / n) for n in ("a", "b", "c", "d"))
    (marked / MARK).touch()
    (used / "foreign").touch()
    give(old / "scripts")
    (old / "scripts/twistlock.cfg").touch()
    give(old / "backup")
    give(other / "log")
    probe = Probe(ACCOUNT, installed={Use.DATA: used})

    def ours(path: Path, volume: Path | None = None) -> bool:
        return probe.inspect(Use.DATA, path, volume).is_ours

    assert ours(marked)
    assert ours(used)
    assert ours(old, old / "backup")
    assert not ours(old, Path("/backup"))
    assert not ours(other)
    assert probe.inspect(Use.DATA, used).is_installed


def test_our_folders_may_belong_to_another_account(base: Path) -> None:
    """After the system was installed again the account may have another number."""
    folder = base / "data"
    folder.mkdir(mode=0o700)
    (folder / MARK).touch()

    assert problem(Probe(ACCOUNT), folder) == ""


def test_programs_are_recognised(probe: Probe, base: Path) -> None:
    """Also those of a release without a mark."""
    (base / "releases/1").mkdir(parents=True)
    (base / "releases/1/VERSION").touch()
    (base / "current").symlink_to("releases/1")

    assert probe.inspect(Use.PROGRAMS, base).is_ours
    assert not probe.inspect(Use.PROGRAMS, Path("/usr/local")).is_ours
    assert not probe.inspect(Use.VOLUME, base).is_ours


def test_who_could_replace_a_folder_is_named(probe: Probe, base: Path) -> None:
    """Its own account may replace data, and no program."""
    open_to_all, shared = base / "open", base / "shared"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    shared.mkdir()
    shared.chmod(0o1777)
    own = give(base / "own", 0o755)
    stranger = base / "stranger"
    stranger.mkdir()
    os.chown(stranger, 65534, 65534)

    def replaceable(path: Path, use: Use = Use.DATA) -> str | None:
        return probe.inspect(use, path).replaceable_at

    assert replaceable(open_to_all / "x") == f"everyone may write in {open_to_all}"
    assert replaceable(open_to_all) == f"everyone may write in {open_to_all}"
    assert replaceable(shared / "x") is None
    assert probe.inspect(Use.DATA, shared).is_shared
    assert not probe.inspect(Use.DATA, own).is_shared
    assert replaceable(own / "x") is None
    assert replaceable(own / "x", Use.PROGRAMS) == (
        f"{own} belongs to the account with id 62674"
    )
    assert replaceable(stranger / "x") == f"{stranger} belongs to nobody"


def test_an_attempt_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that does not answer."""
    monkeypatch.setattr(accounts, "ATTEMPT_TIMEOUT_S", 1)

    def wait() -> str:
        while True:
            os.read(os.pipe()[0], 1)

    with pytest.raises(AttemptFailed, match="no answer within 1 s"):
        attempt(ACCOUNT, wait)


def test_an_attempt_that_breaks_is_reported() -> None:
    """It is no success."""

    def end() -> str:
        raise SystemExit

    with pytest.raises(AttemptFailed, match="the attempt ended with 0"):
        attempt(ACCOUNT, end)


def test_the_account_to_be_made_has_a_free_number() -> None:
    """The product's own, unless somebody has it."""
    assert find_account("no-such-account", 2674).uid >= 2674
    assert find_account("no-such-account", 0).uid not in (0, 1)
    assert find_account("root", 2674) == Account("root", 0, 0, (0,))
