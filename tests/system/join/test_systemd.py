"""Where systemd runs, twistlock.sh leaves starting and stopping to it.

systemd itself runs on no test host; `python -m tests.systemd` starts a real one. Its
`systemctl` is played by a script that reads the unit and does what it says of program
and user; systemd-analyze judges the rest.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.installed import CLI, SETTINGS, Site, configure, serves
from tests.join.manual import as_written

pytestmark = [
    pytest.mark.needs("ip", "nsenter", "systemd-analyze", "unshare", root=True),
]
UNIT = "/etc/systemd/system/twistlock-console.service"
SYSTEMCTL = rf"""#!/bin/bash
echo "$*" >>/root/asked
pid=$(cat /run/main.pid 2>/dev/null)
# What has ended stays in the table of processes here: nobody asks how it ended.
lives() {{ [ -n "$pid" ] && grep -qs . "/proc/$pid/cmdline"; }}
value() {{ sed -n "s/^$1=//p" {UNIT}; }}
stop() {{
    ! lives || kill -TERM "$pid"
    while lives; do sleep 0.1; done
    rm -f /run/main.pid
}}
case $1 in
    is-active | status) lives ;;
    stop) stop ;;
    restart)
        stop
        as=(--reuid="$(value User)" --regid="$(value Group)" --init-groups)
        setsid setpriv "${{as[@]}}" env -i $(value Environment) $(value ExecStart) \
            >/run/journal 2>&1 </dev/null 9>&- &
        echo $! >/run/main.pid
        ;;
esac
"""
JOURNALCTL = "#!/bin/sh\ncat /run/journal\n"


@pytest.fixture
def host(site: Site) -> Iterator[BareHost]:
    """A bare host that looks as if systemd ran there."""
    host = site.host("h5")
    host.bash("mkdir -p /run/systemd/system /etc/systemd/system; rm -f /root/asked")
    host.own_program("systemctl", SYSTEMCTL)
    host.own_program("journalctl", JOURNALCTL)
    yield host
    host.bash("rm -rf /run/systemd /usr/local/bin/systemctl /usr/local/bin/journalctl")


def asked(host: BareHost) -> list[str]:
    """What systemctl was asked to do since the last look, but for questions."""
    said = host.bash("cat /root/asked; rm -f /root/asked").splitlines()
    return [line for line in said if not line.startswith(("is-active", "status"))]


def test_life_under_systemd(host: BareHost, release: Path) -> None:
    """Installed, looked at, stopped, started and removed, all through the unit."""
    service = "twistlock-console.service"
    folder = host.unpack(release)
    keys = {**SETTINGS, "HIGH_AVAILABILITY_ENABLED": "false"}
    configure(host, folder, **keys, NODE_ADDRESS=host.address)

    before = host.bash("ls -A /opt /var/lib /etc/systemd/system")

    check = as_written("sudo ./twistlock.sh check")
    said = host.bash(f"cd {folder}; {check}")

    assert said.endswith("The Console can be installed here; nothing was changed.\n")
    assert host.bash("ls -A /opt /var/lib /etc/systemd/system") == before

    said = host.bash(f"{folder}/twistlock.sh -s console")

    assert said.endswith("Twistlock Console installed successfully.\n")
    wait_for(lambda: serves(host), 30, "it serves")
    beginning = ["daemon-reload", f"enable --quiet {service}", f"restart {service}"]
    assert asked(host) == beginning
    judged = host.bash(
        f"systemd-analyze verify --man=no {UNIT} 2>&1 | grep {service}; :"
    )
    assert judged == ""
    host.bash(as_written("systemctl status twistlock-console"))
    journal = host.bash(as_written("journalctl -u twistlock-console"))
    assert f"node {host.address} started" in journal
    assert host.bash("stat -c %U /proc/$(cat /run/main.pid)").strip() == "twistlock"

    host.bash(as_written("sudo /opt/twistlock/twistlock.sh stop"))
    assert not serves(host)
    assert host.bash(f"{CLI} status; echo $?", check=False).endswith("1\n")
    host.bash(as_written("sudo /opt/twistlock/twistlock.sh start"))
    wait_for(lambda: serves(host), 30, "it serves again")
    assert "running  True" in host.bash(
        as_written("sudo /opt/twistlock/twistlock.sh status")
    )
    assert asked(host) == [f"stop {service}", f"restart {service}"]

    said = host.bash("/opt/twistlock/twistlock.sh -su")
    assert said.endswith("Twistlock Console uninstalled successfully.\n")
    assert asked(host) == [f"stop {service}", f"disable --quiet {service}"]
    assert host.bash(f"ls {UNIT} 2>&1", check=False).count("No such") == 1
