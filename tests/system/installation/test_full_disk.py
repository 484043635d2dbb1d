"""A disk that is full, wherever it is, leaves the Console that was there running."""

from collections.abc import Iterator

import pytest

from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.installation.toy_host import DATA, ToyHost

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
]
PROGRAMS, COMMANDS = "/opt/twistlock", "/usr/local/bin"
SIZE = "size=12m"
OF_ACCOUNT = f"{SIZE},uid=2674,gid=2674,mode=700"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyHost]:
    """A host whose folders are small file systems, with a Console in them."""
    with Laboratory(tmp_path_factory.mktemp("full")) as laboratory:
        host = ToyHost(laboratory.host("h2"))
        host.bash(
            f"""
            mkdir -p {PROGRAMS} {DATA}
            mount -t tmpfs -o {SIZE} programs {PROGRAMS}
            mount -t tmpfs -o {OF_ACCOUNT} data {DATA}
            cp -a {COMMANDS} /root/commands
            mount -t tmpfs -o {SIZE} commands {COMMANDS}
            cp -a /root/commands/* {COMMANDS}
            """
        )
        ran = host.twistlock("-sy console", CONSOLE_CN="first")
        assert ran.code == 0, ran.said
        yield host


@pytest.mark.parametrize("left_kb", [0, 8, 64, 1000])
@pytest.mark.parametrize("folder", [PROGRAMS, DATA, COMMANDS, "/var/log"])
def test_a_full_disk_leaves_the_old_console(
    installed: ToyHost, folder: str, left_kb: int
) -> None:
    """Whatever still fits; and when there is space again the upgrade succeeds."""
    host = installed
    if folder == "/var/log":
        host.bash(f"mount -t tmpfs -o {SIZE} log /var/log")
    before = host.running()
    whole = host.bash(f"cat {DATA}/scripts/twistlock.cfg; readlink {PROGRAMS}/current")
    host.bash(
        f"cat /dev/zero >{folder}/filling 2>/dev/null; "
        f"truncate -s -{left_kb}K {folder}/filling; chmod 000 {folder}/filling; "
        f"mv {folder}/filling {folder}/filling.log"
    )

    ran = host.twistlock("-sy console", CONSOLE_CN="second")
    host.bash(f"rm {folder}/filling.log")
    if folder == "/var/log":
        host.bash("umount /var/log")

    wait_for(host.serves, 30, f"a Console after {ran.said}")
    if ran.code == 0:
        assert "CONSOLE_CN=second" in host.running()[1]
        assert host.twistlock("-sy console", CONSOLE_CN="first").code == 0
        return
    assert "No space left on device" in ran.said
    assert host.running() == before, ran.said
    now = host.bash(f"cat {DATA}/scripts/twistlock.cfg; readlink {PROGRAMS}/current")
    assert now == whole
    assert host.bash(f"ls {PROGRAMS}/releases | wc -l").strip() == "1"
