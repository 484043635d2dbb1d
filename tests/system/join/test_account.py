"""Nothing that the Console's account has in its folders makes root do its will."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.laboratory import Laboratory
from tests.join.bare_host import BareHost
from tests.join.installed import DATA

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
]
PARTS = (Path("packaging/twistlock.sh"), Path("plugins/ha/web/scripts/checks.sh"))
CALL = 'main "$@"\n'
# All but what it does in the folders of the account is left out of an upgrade.
STEPS = f"""
PYTHON=/usr/bin/python3 DATA_FOLDER={DATA} NEW=$HERE/new PREVIOUS=$HERE/old
WAS_RUNNING=true
kept=false
setting() {{ echo {DATA}/backup; }}
ask_release() {{ [ "$1" != text ] || cat "$HERE/twistlock.cfg"; }}
has_systemd() {{ false; }}
stop_console() {{ :; }}
keeper_pid() {{ $kept || {{ kept=true; false; }}; }}
wait_until_it_runs() {{ wait; }}
SETTINGS_OPTIONS=()
touch "$HERE/LICENSE"
(cd "$HERE" && sha256sum LICENSE >SHA256SUMS)
echo 26.1 >"$HERE/VERSION"
echo A=1 >"$HERE/twistlock.cfg"
mkdir "$NEW"
cp "$HERE/twistlock.cfg" "$NEW"
touch "$NEW/twistlock.sh"
make_account
chown -Rh twistlock: {DATA}
make_folders
stage
switch_over
"""
FILES = (
    ".twistlock-console",
    "images/twistlock_console.tar.gz",
    "images/twistlock_console.tar.gz.before",
    "images/twistlock_console.tar.gz.next",
    "images/twistlock_console.tar.gz.next.new",
    "log/console.log",
    "scripts/twistlock.cfg",
    "scripts/twistlock.cfg.before",
    "scripts/twistlock.cfg.next",
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
