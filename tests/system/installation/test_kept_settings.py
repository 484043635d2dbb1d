"""-j: the installed file is the account's own, and root does nothing because of it."""

import codecs
import shlex
from collections.abc import Iterator

import pytest

from tests.hosts.laboratory import Laboratory
from tests.installation.toy_host import DATA, ToyHost

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
]
HERE = b"NODE_ADDRESS=127.0.0.1\n"
CONFIG = f"{DATA}/scripts/twistlock.cfg"


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyHost]:
    """A host with a Console, for all tests here."""
    with Laboratory(tmp_path_factory.mktemp("kept")) as laboratory:
        host = ToyHost(laboratory.host("h2"))
        ran = host.twistlock("-s console")
        assert ran.code == 0, ran.said
        yield host


@pytest.fixture
def installed(upgraded: ToyHost) -> ToyHost:
    """The same, with the settings of its beginning."""
    upgraded.write_installed(HERE)
    return upgraded


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"  HIGH_AVAILABILITY_ENABLED=true", id="indented"),
        pytest.param(b"\tHIGH_AVAILABILITY_ENABLED=TRUE\t# yes", id="tabs"),
        pytest.param(b"HIGH_AVAILABILITY_ENABLED='True'\r", id="windows"),
        pytest.param(b"HIGH_AVAILABILITY_ENABLED=${NONE-true}", id="default"),
    ],
)
def test_what_the_console_read_is_kept(installed: ToyHost, line: bytes) -> None:
    """An upgrade changes no setting, and knows that the Console is clustered."""
    config = HERE + line + b"\n  MANAGEMENT_PORT_HTTPS=9083\n"
    installed.write_installed(codecs.BOM_UTF8 + config)

    clustered = installed.twistlock_functions(
        'check_python; find_installed; is_clustered && echo "is clustered"'
    )
    ran = installed.twistlock("-sj console")

    assert clustered.said == "is clustered\n"
    assert ran.code == 0, ran.said
    shown = installed.bash(f"/opt/twistlock/current/bin/values {CONFIG}")
    assert "HIGH_AVAILABILITY_ENABLED=true" in shown
    assert "MANAGEMENT_PORT_HTTPS=9083" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            b"export DATABASE_PORT=1",
            "line 2: 'export DATABASE_PORT=1' is not KEY=value",
        ),
        (b"HIGH_AVAILABILITY_ENABLED=yes", "HIGH_AVAILABILITY_ENABLED is 'yes': write"),
        (b"CONSOLE_CN=$(reboot)", "line 2: CONSOLE_CN: shell code is not run"),
        (b"\xff", "the file is not UTF-8 text"),
    ],
)
def test_what_the_console_refuses_is_refused(
    installed: ToyHost, text: bytes, words: str
) -> None:
    """With its own sentence; the Console that runs goes on."""
    installed.write_installed(HERE + text + b"\n")

    ran = installed.twistlock("-sj console")

    assert ran.code == 1
    assert words in ran.said
    assert ran.said.count("nothing was changed") == 1
    assert installed.serves()


def test_the_account_tries_the_mongod_that_it_names(installed: ToyHost) -> None:
    """Not root."""
    installed.own_program(
        "other-mongod", "#!/bin/sh\nid -un >>/srv/said/who\necho db version v7\n"
    )
    installed.bash("mkdir -m 1777 /srv/said")
    installed.write_installed(HERE + b"MONGOD_BINARY=/usr/local/bin/other-mongod\n")

    ran = installed.twistlock("-sj check")

    assert ran.code == 0, ran.said
    assert installed.bash("cat /srv/said/who") == "twistlock\n"


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ("/srv/folder", "cannot be written by the account twistlock"),
        ("/srv/new", "is not there, and the settings are not root's own"),
        ("/etc/new", "is a folder of the system"),
    ],
)
def test_root_gives_no_folder_away(installed: ToyHost, volume: str, words: str) -> None:
    """Neither one that is there nor a new one: programs of the host may look there."""
    installed.bash("mkdir -p /srv/folder")
    installed.write_installed(HERE + f"DATA_RECOVERY_VOLUME={volume}\n".encode())
    before = installed.listing(DATA)

    ran = installed.twistlock("-sj console")

    [error] = ran.errors
    assert error.startswith(f"DATA_RECOVERY_VOLUME {volume} {words}")
    assert installed.listing(DATA) == before


def test_the_folder_is_made_as_the_message_says(installed: ToyHost) -> None:
    """The command in it works as it stands there."""
    installed.write_installed(HERE + b"DATA_RECOVERY_VOLUME='/srv/my backups'\n")
    refused = installed.twistlock("-sj check")
    command = refused.said.partition("make it (")[2].partition(") and")[0]

    installed.bash(command)

    assert command.startswith("install -d -m 700 -o ")
    assert installed.twistlock("-sj check").code == 0


def test_a_link_is_not_read_by_root(installed: ToyHost) -> None:
    """What root alone may read is neither told nor kept."""
    installed.bash(
        f"(umask 077; echo SECRET=1 >/srv/secret); ln -sf /srv/secret {CONFIG}"
    )

    ran = installed.twistlock("-sj console")

    assert ran.code == 1
    assert "Permission denied" in ran.said
    assert "SECRET" not in ran.said


def test_lost_settings_are_no_new_ones(installed: ToyHost) -> None:
    """The file system of DATA_FOLDER may not be mounted."""
    installed.bash(f"mv {DATA} {DATA}.away")

    ran = installed.twistlock("-sj console")

    assert ran.code == 1
    assert "is the file system of its DATA_FOLDER mounted?" in ran.said
    installed.bash(f"mv {DATA}.away {DATA}")


def test_an_environment_of_root_is_no_setting(host: ToyHost) -> None:
    """The service will not have it."""
    exported = shlex.join(
        ["export", "DATA_FOLDER=/home/x", "HIGH_AVAILABILITY_PORT=none", "LOG=/x"]
    )

    ran = host.twistlock("-s console", before=exported)

    assert ran.code == 0, ran.said
    assert host.bash(f"ls -d {DATA}/db").strip() == f"{DATA}/db"
    told = host.bash(f"{exported}; twistlock-console status; echo $?", check=False)
    assert '"serving": true' in told
