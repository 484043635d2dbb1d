"""Nothing that the Console's account has in its folders makes root do its will."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.laboratory import Laboratory
from tests.join.bare_host import BareHost
from tests.join.installed import DATA

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
    pytest.mark.timeout(120),
]
PARTS = (Path("packaging/twistlock.sh"), Path("plugins/ha/web/scripts/checks.sh"))
CALL = 'main "$@"\n'
# All but what it does in the folders of the account is left out of an upgrade.
STEPS = f"""
PYTHON=/usr/bin/python3 DATA_FOLDER={DATA} NEW=$HERE/new PREVIOUS=$HERE/old
WAS_RUNNING=true
kept=false
setting() {{ echo {DATA}/backup; }}
port_numbers() {{ :; }}
has_systemd() {{ false; }}
stop_console() {{ :; }}
keeper_pid() {{ $kept || {{ kept=true; false; }}; }}
point_to() {{ ln -sfn {DATA}/scripts/twistlock.cfg "$INSTALL_FOLDER/twistlock.cfg"; }}
wait_until_it_runs() {{ wait; }}
make_account
touch "$HERE/LICENSE"
(cd "$HERE" && sha256sum LICENSE >SHA256SUMS)
echo 26.1 >"$HERE/VERSION"
echo A=1 >"$HERE/twistlock.cfg"
mkdir "$NEW"
cp "$HERE/twistlock.cfg" "$NEW"
chown -Rh twistlock: {DATA}
switch_over
"""
FILES = (
    "images/twistlock_console.tar.gz",
    "images/twistlock_console.tar.gz.new",
    "images/twistlock_console.tar.gz.part.new",
    "log/console.log",
    "scripts/twistlock.cfg",
    "scripts/twistlock.cfg.old",
)
FOLDERS = ("backup", "images", "log", "run", "scripts")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BareHost]:
    """A host with the installer's functions in /opt/release."""
    with Laboratory(tmp_path) as laboratory:
        host = BareHost(laboratory.host("h2"))
        host.bash("mkdir /opt/release /opt/twistlock")
        for part in PARTS:
            text = part.read_text().removesuffix(CALL)
            host.tree(f"/opt/release/{part.name}").write_text(text)
        yield host


@pytest.mark.parametrize("place", FILES + FOLDERS)
@pytest.mark.parametrize("end", ["finish 26.2", "put_back"])
def test_a_link_of_the_account_leads_root_nowhere(
    host: BareHost, place: str, end: str
) -> None:
    """What it names stays root's, unread and as it was, after an upgrade or none."""
    kind = "file" if place in FILES else "folder"
    host.bash(
        f"""
        mkdir -p /opt/folder $(dirname {DATA}/{place})
        (umask 077; echo SECRET=1 >/opt/file)
        ln -s /opt/{kind} {DATA}/{place}
        """
    )
    with host.tree("/opt/release/twistlock.sh").open("a") as script:
        script.write(f"{STEPS}{end}\n")
    look = (
        "stat -c '%n %U %a' /opt/file /opt/folder; ls -A /opt/folder; cat -v /opt/file"
    )
    before = host.bash(look)

    said = host.bash("bash /opt/release/twistlock.sh", check=False)

    assert host.bash(look) == before, said
    assert host.bash(f"grep -r SECRET {DATA}; :") == "", said


PROGRAM = """#!/bin/sh
cat "$3"
echo "MONGOD_BINARY=tried by $(id -un)"
"""


def kept(host: BareHost, volume: str, calls: str) -> str:
    """Run *calls* where the installed settings name *volume*; what it said."""
    settings = f"DATA_FOLDER={DATA}\nDATA_RECOVERY_VOLUME={volume}\n"
    host.bash(f"mkdir -p {DATA}/scripts /opt/new/bin")
    host.bash(f"echo -n {shlex.quote(settings)} >{DATA}/scripts/twistlock.cfg")
    host.bash(f"ln -s {DATA}/scripts/twistlock.cfg /opt/twistlock")
    program = host.tree("/opt/new/bin/twistlock-console")
    program.write_text(PROGRAM)
    program.chmod(0o755)
    with host.tree("/opt/release/twistlock.sh").open("a") as script:
        script.write(
            f"NEW=/opt/new KEEP_VALUES=true CONFIG=/dev/null DATA_FOLDER={DATA}\n"
            f"make_account\nchown -R twistlock: {DATA}\nprepare_settings\n{calls}\n"
        )
    return host.bash("bash /opt/release/twistlock.sh", check=False)


def test_kept_settings_are_judged_by_whose_they_are(host: BareHost) -> None:
    """The MongoDB that they name is run, to see whether it is one."""
    said = kept(host, "/opt", "setting MONGOD_BINARY")

    assert said == "tried by twistlock\n"


def test_kept_settings_give_no_folder_away(host: BareHost) -> None:
    """One that is there stays whose it is."""
    host.bash("mkdir /opt/folder")

    kept(host, "/opt/folder", 'make_folders "$(setting DATA_RECOVERY_VOLUME)"')

    assert host.bash("stat -c '%U %a' /opt/folder") == "root 755\n"


def test_kept_settings_have_no_folder_made(host: BareHost) -> None:
    """It could be one in which the host looks for programs of its own."""
    said = kept(host, "/etc/folder", "echo went on")

    assert said.startswith("Error: The folder /etc/folder for backups is not there;")
    assert "went on" not in said


def test_no_setting_is_run(host: BareHost) -> None:
    """The unit has it as it is."""
    volume = "/opt/a&b,e;#"
    host.bash(f"mkdir {shlex.quote(volume)}; echo @DATA_RECOVERY_VOLUME@ >/opt/service")
    calls = """
    has_systemd() { true; }
    systemctl() { :; }
    UNIT=/opt/unit
    cp /opt/service "$NEW/twistlock-console.service"
    point_to "$NEW"
    """

    kept(host, volume, calls)

    assert host.bash("cat /opt/unit") == f"{volume}\n"
