"""Which paths of the settings may be used: every rule, as a table."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from twistlock_console.host_folders.rules import (
    Finding,
    Host,
    PathKind,
    Place,
    Severity,
    Use,
    judge,
    recognise_data,
)
from twistlock_console.host_folders.system import is_system_folder


def place(use: Use, path: str, **found: object) -> Place:
    """A place at *path* of which nothing bad was found."""
    kind = PathKind.FILE if use in (Use.KEY_FILE, Use.MONGOD) else PathKind.MISSING
    where = PurePosixPath(path)
    return replace(Place(use, where, where, kind), **found)  # type: ignore[arg-type]


def findings(*places: Place, host: Host | None = None) -> list[Finding]:
    """What is wrong with *places* beside the usual data and install folders."""
    usual = [place(Use.PROGRAMS, "/opt/twistlock"), place(Use.DATA, "/srv/twistlock")]
    given = {each.use for each in places}
    there = [*(each for each in usual if each.use not in given), *places]
    return list(judge(there, host or Host()))


def only(found: list[Finding]) -> str:
    """The sentence of the only finding, which must be an error."""
    [finding] = found
    assert finding.severity is Severity.ERROR
    return finding.sentence


FOLDERS = (Use.DATA, Use.VOLUME, Use.PROGRAMS)
_LISTED = """
/ /bin /boot /dev /dev/shm /dev/shm/x /etc /etc/twistlock /home /lib /lib64 /media /mnt
/opt /proc /proc/1 /root /run /run/twistlock /sbin /srv /sys /tmp /usr /usr/bin
/usr/lib/x /usr/share/twistlock /usr/local /usr/local/bin /usr/local/lib/x /var
/var/backups /var/cache /var/lib /var/local /var/lock /var/log /var/mail /var/opt
/var/run /var/spool /var/tmp /var/www /lost+found
"""
SYSTEM = _LISTED.split()
_FREE = """
/var/lib/twistlock /srv/twistlock /opt/twistlock/data /mnt/disk /data /media/x
/usr/local/twistlock /var/log/twistlock /backup /usr2/x /etcetera/x
"""
FREE = _FREE.split()


@pytest.mark.parametrize("path", SYSTEM)
@pytest.mark.parametrize("use", FOLDERS)
def test_no_folder_of_the_system_is_ours(use: Use, path: str) -> None:
    """Whatever is in it, and whoever may write there."""
    found = findings(place(use, path, kind=PathKind.FOLDER, is_ours=True))

    assert f"{use} {path} is a folder of the system" in found[0].sentence
    assert found[0].severity is Severity.ERROR


@pytest.mark.parametrize("path", FREE)
def test_a_folder_of_its_own_is_fine(path: str) -> None:
    """Below most folders of the system too."""
    assert not is_system_folder(PurePosixPath(path))
    assert findings(place(Use.DATA, path)) == []


def test_a_link_to_the_system_is_seen_through() -> None:
    """The finding names both."""
    real = PurePosixPath("/var")

    said = only(findings(place(Use.DATA, "/srv/link", real=real, kind=PathKind.FOLDER)))

    assert said.startswith("DATA_FOLDER /srv/link, which is /var, is a folder of the")


@pytest.mark.parametrize("tree", ["/home", "/root", "/tmp", "/var/tmp"])  # noqa: S108
@pytest.mark.parametrize("use", list(Use))
def test_what_the_service_cannot_see_is_refused(use: Use, tree: str) -> None:
    """With the reason; programs and keys too."""
    said = only(findings(place(use, f"{tree}/twistlock")))

    assert said.startswith(f"{use} {tree}/twistlock is below {tree}, which ")
    assert "in its unit" in said


def test_without_a_unit_a_hidden_folder_in_use_goes_on() -> None:
    """An upgrade warns; under systemd it could never have worked."""
    used = place(Use.DATA, "/home/twistlock", is_installed=True)

    [warned] = findings(used, host=Host(has_systemd=False))
    fresh = place(Use.DATA, "/home/twistlock")

    assert warned.severity is Severity.WARNING
    assert "below /home" in only(findings(used))
    assert "below /home" in only(findings(fresh, host=Host(has_systemd=False)))


def test_no_program_has_a_path_of_two_lines() -> None:
    """Lists of paths have one a line, and so have findings."""
    finding = only(findings(place(Use.PROGRAMS, "/srv/a\nb")))

    assert "has the character '\\n' in its name" in finding
    assert finding.isprintable()


@pytest.mark.parametrize("use", [Use.DATA, Use.PROGRAMS])
def test_a_folder_with_foreign_content_is_refused(use: Use) -> None:
    """Some of the content is named; an empty file system is none."""
    path = "/srv/x"
    foreign = place(use, path, kind=PathKind.FOLDER, entries=("a", "b", "c", "d"))
    empty = replace(foreign, entries=("lost+found",))
    ours = replace(foreign, is_ours=True)
    few = replace(foreign, entries=("a",))

    assert "is not empty and not from a Console: it has a, b, c and more; " in only(
        findings(foreign)
    )
    assert "it has a; name" in only(findings(few))
    assert findings(empty) == findings(ours) == []


def test_backups_may_be_beside_other_files() -> None:
    """A share for the backups of many programs is usual."""
    share = place(Use.VOLUME, "/backup", kind=PathKind.FOLDER, entries=("other",))

    assert findings(share) == []


@pytest.mark.parametrize(
    ("use", "kind", "words"),
    [
        (Use.DATA, PathKind.FILE, "is a file; name a folder"),
        (Use.VOLUME, PathKind.FILE, "is a file; name a folder"),
        (Use.PROGRAMS, PathKind.FILE, "is a file; name a folder"),
        (Use.KEY_FILE, PathKind.FOLDER, "is not a file on this host; copy it there"),
        (Use.KEY_FILE, PathKind.MISSING, "is not a file on this host; copy it there"),
        (Use.MONGOD, PathKind.MISSING, "is not a file on this host; install MongoDB"),
        (Use.MONGOD, PathKind.FOLDER, "is not a file on this host; install MongoDB"),
        (Use.DATA, PathKind.BROKEN_LINK, "is a link to /srv/x, which is not there"),
        (Use.KEY_FILE, PathKind.BROKEN_LINK, "is a link to /srv/x, which is not there"),
    ],
)
def test_what_is_there_must_be_of_its_kind(
    use: Use, kind: PathKind, words: str
) -> None:
    """Folders are folders, files are files."""
    assert words in only(findings(place(use, "/srv/x", kind=kind)))


@pytest.mark.parametrize("use", list(Use))
def test_what_the_account_cannot_use_is_refused(use: Use) -> None:
    """With the system's reason."""
    bad = place(use, "/srv/x", account_problem="cannot be used by the account")

    assert f"{use} /srv/x cannot be used by the account" in only(findings(bad))


def test_without_backups_their_folder_is_only_warned_about() -> None:
    """DATA_RECOVERY_ENABLED=false."""
    bad = place(Use.VOLUME, "/srv/x", account_problem="cannot be written")

    [warned] = findings(bad, host=Host(backups_enabled=False))

    assert warned == Finding(
        Severity.WARNING,
        "DATA_RECOVERY_VOLUME /srv/x cannot be written. No backup can be made by hand.",
    )
    assert "or set DATA_RECOVERY_ENABLED=false" in only(findings(bad))


def test_programs_must_be_allowed_where_they_are_installed() -> None:
    """Data may be on a file system without programs."""
    programs = place(Use.PROGRAMS, "/srv/programs", forbids_programs=True)
    data = place(Use.DATA, "/srv/data", forbids_programs=True)

    assert "is mounted with noexec" in only(findings(programs))
    assert findings(data) == []


@pytest.mark.parametrize("character", "'\"\\`$:%")
def test_no_program_has_an_odd_path(character: str) -> None:
    """systemd refuses quotes, Python a colon; blanks are fine, and data is freer."""
    odd = f"/srv/a{character}b"

    assert f"has the character {character} in its name" in only(
        findings(place(Use.PROGRAMS, odd))
    )
    assert findings(place(Use.DATA, odd), place(Use.PROGRAMS, "/srv/a b")) == []


@pytest.mark.parametrize("use", [Use.DATA, Use.PROGRAMS])
def test_no_other_account_may_replace_our_folders(use: Use) -> None:
    """What is in use is only warned about."""
    open_to_all = place(use, "/srv/x/y", replaceable_at="everyone may write in /srv/x")
    volume = place(Use.VOLUME, "/srv/x/y", replaceable_at="everyone may write in /srv")

    assert "could be replaced by others: everyone may write in /srv/x;" in only(
        findings(open_to_all)
    )
    [warned] = findings(replace(open_to_all, is_installed=True))
    assert warned.severity is Severity.WARNING
    assert findings(volume) == []


@pytest.mark.parametrize("use", [Use.DATA, Use.PROGRAMS])
def test_a_shared_folder_is_warned_about(use: Use) -> None:
    """As a new file system in memory is; for backups it is usual."""
    shared = place(use, "/srv/x", kind=PathKind.FOLDER, is_shared=True)

    assert findings(shared) == [
        Finding(
            Severity.WARNING,
            f"Everyone may write in {use} /srv/x; run: chmod o-w /srv/x",
        )
    ]
    assert findings(replace(shared, use=Use.VOLUME)) == []


@pytest.mark.parametrize("use", [Use.DATA, Use.VOLUME])
def test_a_file_system_in_memory_is_warned_about(use: Use) -> None:
    """It is for trying."""
    [warned] = findings(place(use, "/srv/x", is_in_memory=True))

    assert warned.severity is Severity.WARNING
    assert "a reboot loses what is in it" in warned.sentence


DATA = "/srv/twistlock"


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([(Use.VOLUME, f"{DATA}/db")], f"is within {DATA}/db, which is removed when"),
        ([(Use.VOLUME, f"{DATA}/log/x")], f"is within {DATA}/log, which is removed"),
        ([(Use.KEY_FILE, f"{DATA}/secrets/k")], f"is within {DATA}/secrets, which is"),
        ([(Use.VOLUME, "/opt/twistlock/releases/x")], "replaced at each upgrade"),
        ([(Use.KEY_FILE, "/opt/twistlock/current/k")], "replaced at each upgrade"),
        ([(Use.DATA, "/opt/twistlock/releases")], "replaced at each upgrade"),
        ([(Use.DATA, "/opt/twistlock")], "owner could replace the programs"),
        ([(Use.PROGRAMS, f"{DATA}/programs")], "owner could replace the programs"),
        ([(Use.DATA, "/x/y/z"), (Use.VOLUME, "/x/y")], "holds DATA_FOLDER /x/y/z;"),
        ([(Use.VOLUME, DATA)], f"holds DATA_FOLDER {DATA};"),
    ],
)
def test_folders_are_apart(places: list[tuple[Use, str]], words: str) -> None:
    """What is removed or replaced holds nothing else."""
    assert words in only(findings(*(place(use, path) for use, path in places)))


@pytest.mark.parametrize(
    ("use", "path"),
    [
        (Use.VOLUME, f"{DATA}/backup"),
        (Use.VOLUME, f"{DATA}/dbx"),
        (Use.KEY_FILE, f"{DATA}/key"),
        (Use.DATA, "/opt/twistlock/data"),
        (Use.VOLUME, "/opt/twistlock/backup"),
    ],
)
def test_folders_may_be_within_each_other(use: Use, path: str) -> None:
    """Where none of them is removed with the other."""
    assert findings(place(use, path)) == []


def test_a_volume_around_the_data_that_is_in_use_is_warned_about() -> None:
    """Such a Console works."""
    data = place(Use.DATA, "/x/y", is_installed=True)
    volume = place(Use.VOLUME, "/x/y", is_installed=True)

    [warned] = findings(data, volume)

    assert warned.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("entries", "signs", "volume", "ours"),
    [
        (("db", "log"), (), "", False),
        (("db", "scripts"), ("scripts/twistlock.cfg",), "", True),
        (("certificates", "lost+found"), ("certificates/ca.pem",), "", True),
        (("db", "notes", "scripts"), ("scripts/twistlock.cfg",), "", False),
        (("backup", "scripts"), ("scripts/twistlock.cfg",), "backup", True),
        (("lib", "log", "run"), (), "", False),
        ((), (), "", False),
    ],
)
def test_our_data_is_recognised_without_a_mark(
    entries: tuple[str, ...], signs: tuple[str, ...], volume: str, ours: bool
) -> None:
    """Only ours, and a file that no other program makes."""
    assert recognise_data(entries, signs, volume) is ours
