"""Nothing outside the Console's folders is changed: by no settings, and in no phase."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hosts.laboratory import Laboratory
from tests.installation.toy_host import BACKUP, DATA, PROGRAMS, ToyHost
from twistlock_console.settings.config_file import quote

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
]
#: What useradd keeps of the files it changes.
FILES_OF_USERADD = ("group", "gshadow", "passwd", "shadow", "subgid", "subuid")
KEPT_BY_USERADD = tuple(f"/etc/{name}-" for name in FILES_OF_USERADD)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyHost]:
    """One host for all settings: each test leaves it as it was."""
    with Laboratory(tmp_path_factory.mktemp("throwaway")) as laboratory:
        host = ToyHost(laboratory.host("h2"))
        host.bash("touch /etc/{group,gshadow,passwd,shadow,subgid,subuid}-")
        # From now on they are the host's own, whatever this machine does with its.
        host.bash("touch /opt /srv /var/lib")
        yield host


@dataclass(frozen=True, slots=True)
class Folders:
    """Settings of folders; *before* makes what is there before."""

    data: str = DATA
    volume: str = BACKUP
    programs: str = PROGRAMS
    before: str = ""
    #: Missing folders above ours, which the installer makes.
    above: tuple[str, ...] = ()

    @property
    def options(self) -> str:
        """Options of the installer."""
        return f"-s --install-folder '{self.programs}'"

    @property
    def settings(self) -> dict[str, str]:
        """Settings in twistlock.cfg."""
        return {
            "DATA_FOLDER": quote(self.data),
            "DATA_RECOVERY_VOLUME": quote(self.volume),
        }


USABLE = [
    pytest.param(Folders(), id="defaults"),
    pytest.param(
        Folders("/srv/a/b/data", "/srv/a/backup", above=("/srv/a", "/srv/a/b")),
        id="parents-are-missing",
    ),
    pytest.param(
        Folders("/srv/my data", "/srv/my backups", "/opt/twist lock"), id="blanks"
    ),
    pytest.param(
        Folders("/srv/data", before="install -d -m 750 -o 2674 -g 2674 /srv/data"),
        id="empty-folder-of-the-account",
    ),
    pytest.param(
        Folders(
            volume="/srv/share",
            before="mkdir -m 1777 /srv/share; touch /srv/share/other; chmod 1777 /srv",
        ),
        id="share-for-backups",
    ),
    pytest.param(Folders("/opt/twistlock/data"), id="data-beside-programs"),
    pytest.param(Folders(volume=f"{DATA}/backup"), id="backups-within-data"),
    pytest.param(
        Folders(
            "/srv/link",
            before="install -d -o 2674 -g 2674 /srv/real; ln -s real /srv/link",
            above=("/srv/real",),
        ),
        id="link",
    ),
    pytest.param(
        Folders(programs="/usr/local/twistlock", before="mkdir /usr/local/twistlock"),
        id="empty-install-folder",
    ),
    pytest.param(
        Folders("/srv/we'ird;&$data\"x", "/srv/back`up"), id="special-characters"
    ),
    pytest.param(
        Folders(
            "/var/opt/twistlock/data",
            "/var/opt/twistlock/backup",
            "/opt/vendor/twistlock",
            above=("/var/opt/twistlock", "/opt/vendor"),
        ),
        id="folders-of-add-on-software",
    ),
    pytest.param(Folders("/srv/Ürün/veri", above=("/srv/Ürün",)), id="other-letters"),
]
REFUSED = [
    pytest.param(Folders("/"), "DATA_FOLDER / is a folder of the system", id="root"),
    pytest.param(
        Folders("/var"), "DATA_FOLDER /var is a folder of the system", id="var"
    ),
    pytest.param(
        Folders("/srv/link", before="ln -s /var/lib /srv/link"),
        "DATA_FOLDER /srv/link, which is /var/lib, is a folder of the system",
        id="link-to-the-system",
    ),
    pytest.param(
        Folders("/var/lib/dpkg"), "is not empty and not from a Console", id="package"
    ),
    pytest.param(
        Folders("/srv/mail", before="mkdir -p /srv/mail/log /srv/mail/run"),
        "is not empty and not from a Console",
        id="names-like-ours",
    ),
    pytest.param(Folders("/home/twistlock"), "ProtectHome", id="home"),
    pytest.param(Folders("/tmp/twistlock"), "PrivateTmp", id="tmp"),  # noqa: S108
    pytest.param(Folders(volume="/tmp"), "folder of the system", id="volume-is-tmp"),  # noqa: S108
    pytest.param(Folders(volume="/mnt"), "folder of the system", id="volume-is-mnt"),
    pytest.param(
        Folders(volume="/srv/backup", before="mkdir /srv/backup"),
        "cannot be written by the account twistlock (id 2674): Permission denied",
        id="volume-of-root",
    ),
    pytest.param(
        Folders("/srv/private/data", before="mkdir -m 700 /srv/private"),
        "it may not enter /srv/private",
        id="closed-above",
    ),
    pytest.param(
        Folders("/srv/open/data", before="mkdir -m 777 /srv/open"),
        "everyone may write in /srv/open",
        id="replaceable",
    ),
    pytest.param(Folders(volume=f"{DATA}/db"), "removed when", id="overlap"),
    pytest.param(Folders(programs="/opt"), "folder of the system", id="programs"),
    pytest.param(
        Folders(programs="/srv/other", before="mkdir -p /srv/other/bin"),
        "is not empty and not from a Console",
        id="foreign-programs",
    ),
    pytest.param(
        Folders(before="echo '#!/bin/sh' >/usr/local/bin/twistlock-console"),
        "/usr/local/bin/twistlock-console is there already and is not from",
        id="foreign-command",
    ),
]


@pytest.fixture
def clean(shared: ToyHost) -> Iterator[ToyHost]:
    """The host, whose own places are emptied afterwards."""
    yield shared
    shared.bash("rm -rf /srv/* /usr/local/twistlock /var/opt/* /opt/*; chmod 755 /srv")
    shared.bash(
        "grep -qs twistlock.sh /usr/local/bin/twistlock-console || "
        "rm -f /usr/local/bin/twistlock-console"
    )


def without(listing: dict[str, str], *paths: str) -> dict[str, str]:
    """The *listing* but for these *paths*, what is in them, and useradd's copies."""
    return {
        path: what
        for path, what in listing.items()
        if path not in KEPT_BY_USERADD
        and not any(f"{path}/".startswith(f"{ours}/") for ours in paths)
    }


@pytest.mark.parametrize("folders", USABLE)
def test_only_our_own_folders_are_touched(clean: ToyHost, folders: Folders) -> None:
    """In a check, two failures, an installation, an upgrade and an uninstallation."""
    host, broken = clean, {"CONSOLE_CN": "broken"}
    host.bash(folders.before)
    before = host.listing()
    ours = (folders.data, folders.volume, folders.programs, *folders.above)
    command = "/usr/local/bin/twistlock-console"

    assert host.twistlock(f"{folders.options} check", **folders.settings).code == 0
    assert host.listing() == before

    failed = host.twistlock(
        f"{folders.options} console", quick=True, **folders.settings, **broken
    )
    assert "did not start within" in failed.said
    assert without(host.listing()) == without(before)

    ran = host.twistlock(f"{folders.options} console", **folders.settings)
    assert ran.code == 0, ran.said
    assert host.serves(folders.programs)
    installed = without(host.listing(), *ours, command)
    assert installed == without(before, *ours, command)

    again = host.twistlock(f"{folders.options} -j console", **folders.settings)
    assert again.code == 0, again.said
    running = host.running(folders.data)
    failed = host.twistlock(
        f"{folders.options} console", quick=True, **folders.settings, **broken
    )
    assert "Putting the earlier installation back" in failed.said
    assert host.serves(folders.programs)
    assert host.running(folders.data) == running
    assert without(host.listing(), *ours, command) == installed

    data, volume = map(shlex.quote, (folders.data, folders.volume))
    host.bash(f"touch {volume}/manual-1.tar.gz {data}/notes")
    gone = host.twistlock(f"{folders.options} -u", **folders.settings)
    assert gone.said.endswith("Twistlock Console uninstalled successfully.\n")
    host.bash(f"rm {data}/notes")
    left = host.listing()
    assert f"{folders.volume}/manual-1.tar.gz" in left
    assert without(left, *ours) == without(before, *ours)
    parts = [path for path in left if path.startswith(f"{folders.data}/")]
    backups = [path for path in parts if path.startswith(folders.volume)]
    assert parts == backups
    host.bash(f"rm -rf {data} {volume}; userdel twistlock")


@pytest.mark.parametrize(("folders", "reason"), REFUSED)
def test_what_is_refused_changes_nothing(
    clean: ToyHost, folders: Folders, reason: str
) -> None:
    """Not even the time of a folder's last change."""
    host = clean
    host.bash(folders.before)
    before, times = host.listing(), host.bash("stat -c '%n %y' /srv /opt /var/lib")

    ran = host.twistlock(f"{folders.options} console", **folders.settings)

    assert ran.code == 1
    assert any(reason in error for error in ran.errors), ran.said
    assert "nothing was changed" in ran.said
    assert host.listing() == before
    assert host.bash("stat -c '%n %y' /srv /opt /var/lib") == times


def test_all_problems_are_reported_at_once(clean: ToyHost) -> None:
    """Of folders, settings of other kinds, and the host."""
    folders = Folders("/var", "/home/backup", "/opt")

    ran = clean.twistlock(
        f"{folders.options} check",
        **folders.settings,
        DATA_RECOVERY_KEY_FILE="/srv/none",
        MONGOD_BINARY="/bin/true",
    )

    assert [error.split(" ")[0] for error in ran.errors] == [
        "The",
        "DATA_FOLDER",
        "DATA_RECOVERY_VOLUME",
        "DATA_RECOVERY_KEY_FILE",
        "MONGOD_BINARY",
    ]


def test_settings_that_are_not_there_are_named(clean: ToyHost) -> None:
    """Also where the folder they should be in is missing."""
    [error] = clean.twistlock("-c /nowhere/near/it.cfg check").errors

    assert error == "The configuration file /nowhere/near/it.cfg cannot be read."


def test_only_root_asks_for_the_status(clean: ToyHost) -> None:
    """A sentence says so, and that there is no Console; no program's own words do."""
    as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups "

    assert clean.twistlock("status", run_by=as_nobody).errors == [
        "This script must be run as root; run it with sudo."
    ]
    assert clean.twistlock("status").errors == [
        "No Console is installed in /opt/twistlock."
    ]


def test_a_python_that_the_account_cannot_reach_is_refused(clean: ToyHost) -> None:
    """Root reaches it behind a closed folder, also through a link."""
    closed = "mkdir -m 700 /srv/closed; ln -s /usr/bin/python3 /srv/closed/python3"

    [error] = clean.twistlock("--python /srv/closed/python3 check", closed).errors

    assert error.startswith("Python 3.11 to 3.14 with its venv module is needed")


def test_backups_go_where_root_may_not_write(clean: ToyHost) -> None:
    """As on NFS with root_squash: there only the account can make and write files.

    Root without the right to overrule modes stands for root there.
    """
    host = clean
    host.bash("install -d -m 700 -o 2674 -g 2674 /srv/nfs")
    squashed = "-dac_override,-dac_read_search,-fowner"
    folders = Folders(volume="/srv/nfs/twistlock/backup")
    before = host.listing()

    ran = host.twistlock(
        f"{folders.options} console",
        run_by=f"setpriv --bounding-set={squashed} ",
        **folders.settings,
    )

    assert ran.code == 0, ran.said
    made = host.bash("stat -c '%U %a' /srv/nfs /srv/nfs/twistlock/backup").split()
    assert made == ["twistlock", "700", "twistlock", "700"]
    assert "/srv/nfs" in before
    host.twistlock(f"{folders.options} -u")
    host.bash("rm -rf /srv/nfs; userdel twistlock")
