"""What a host must have before it may join: each lack has its own sentence."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.ha.web.join_script import Console, Release, join_script
from tests.hosts.laboratory import Laboratory
from tests.join.bare_host import BareHost
from tests.join.installed import DATA
from twistlock_console.settings import Settings
from twistlock_console.settings.keys import values_of

pytestmark = [
    pytest.mark.needs("curl", "ip", "nsenter", "unshare", root=True),
]
NEAR, FAR, NOWHERE = "10.77.0.11", "10.99.0.5", "10.98.0.5"
NOTHING_INSTALLED = "This host cannot join yet; nothing was installed."
PORTS = (27017, 8083, 8443, 8084, 8086)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BareHost]:
    """A host on which nothing is installed."""
    with Laboratory(tmp_path) as laboratory:
        yield BareHost(laboratory.host("h2"))


def run(
    host: BareHost,
    before: str = "",
    *,
    primary: str = NEAR,
    off: int = 0,
    option: str = "",
) -> str:
    """Run the script on *host*, after *before*; what it said."""
    values = values_of(Settings(node_address=primary))
    script = join_script(
        Console(primary, 8083, "sha256//x", "join-token"),
        Release("26.1", "0" * 64),
        values,
        int(time.time()) + off,
    )
    path = host.host.folder / "script.sh"
    path.write_text(script)
    path.chmod(0o644)
    return host.bash(f"{before} bash {shlex.quote(str(path))} {option}", check=False)


def stand_in(program: str, says: str) -> str:
    """Commands that put a program in the place of the host's own."""
    text = shlex.quote(f"#!/bin/sh\n{says}\n")
    there = f"/usr/local/bin/{program}"
    return f"printf %s {text} >{there}; chmod 755 {there};"


LACKS = [
    pytest.param(
        stand_in("uname", "case $1 in -m) echo aarch64;; *) echo Linux;; esac"),
        "The Console runs on x86-64 Linux; this host is Linux on aarch64.",
        id="other-architecture",
    ),
    pytest.param(
        stand_in("old-python", "exit 1") + "TWISTLOCK_PYTHON=/usr/local/bin/old-python",
        "Python 3.11 to 3.14 with its venv module is needed and was not found",
        id="old-python",
    ),
    pytest.param(
        stand_in("df", "printf 'x\\nx 1 1 2097152 1 /\\n'"),
        f"Low storage: {DATA} has 2 GB free and the Console needs 10 GB.",
        id="low-disk",
    ),
    pytest.param(
        "KUBERNETES_SERVICE_HOST=10.0.0.1",
        "High availability is not for hosts under Kubernetes",
        id="kubernetes",
    ),
    pytest.param(
        "ECS_CONTAINER_METADATA_URI_V4=http://x",
        "High availability is not for hosts under Amazon ECS",
        id="ecs",
    ),
    pytest.param(
        "cd /var/lib; mkdir -p docker/swarm; touch docker/swarm/docker-state.json;",
        "High availability is not for hosts under Docker Swarm",
        id="swarm",
    ),
    pytest.param(
        f"mkdir -p {DATA}/certificates; touch {DATA}/certificates/node.pem;",
        "This host is a Console already",
        id="member-already",
    ),
    pytest.param(
        "mkdir -p /opt/twistlock/current; echo 25.1 >/opt/twistlock/current/VERSION;",
        "Version 25.1 of the Console is installed here and the cluster has 26.1",
        id="other-version",
    ),
]


@pytest.mark.parametrize(("before", "sentence"), LACKS)
def test_a_lack_is_told(host: BareHost, before: str, sentence: str) -> None:
    """A host that lacks one thing is told which, and nothing is installed."""
    said = run(host, before)

    assert sentence in said
    assert said.endswith(f"Error: {NOTHING_INSTALLED}\n")
    assert said.count("Error: ") == 2, said


@pytest.mark.parametrize(
    "option", ["--python /usr/local/bin/chosen -y", "-y --python /usr/local/bin/chosen"]
)
def test_the_python_is_chosen_by_an_option(host: BareHost, option: str) -> None:
    """sudo lets no variable through."""
    chosen = stand_in("chosen", 'echo "$0 $1" >>/root/asked; exec python3 "$@"')

    said = run(host, f"chmod 711 /root; {chosen}", option=option)

    assert f"Error: {NEAR} does not answer" in said
    assert "/usr/local/bin/chosen -I" in host.bash("cat /root/asked")
    refused = run(host, chosen, option="--python /usr/local/bin/none")
    assert "Python 3.11 to 3.14 with its venv module is needed" in refused


def test_a_wrong_option_is_told(host: BareHost) -> None:
    """Nothing is begun with half of what was asked for."""
    assert run(host, option="--pyhton x").startswith("Usage: ... | sudo bash -s --")
    assert run(host, option="--python").startswith("Usage: ... | sudo bash -s --")


def test_only_root_may_run_it(host: BareHost) -> None:
    """Without root it ends at once."""
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    said = run(host, f"cat {host.host.folder}/script.sh | {nobody} bash; true")

    assert said == "Error: This script must be run as root; run it with sudo.\n"


def test_every_port_must_be_free(host: BareHost) -> None:
    """Each port that another program has is named."""
    listen = (
        "import socket, time\n"
        f"taken = [socket.create_server(('', port)) for port in {PORTS}]\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    host.bash(
        f"python3 -c {shlex.quote(listen)} >/root/ready 2>&1 & "
        "until grep -q ready /root/ready; do sleep 0.05; done"
    )
    said = run(host)

    for port in PORTS:
        assert f"Port {port} is taken by another program" in said
    assert said.count("Error: ") == len(PORTS) + 1


def test_the_primary_must_be_near(host: BareHost) -> None:
    """A primary behind a router is refused, and so is one without a route."""
    host.host.run_in_network("ip", "route", "add", "10.99.0.0/24", "via", NEAR)

    assert f"reaches {FAR} only through a router" in run(host, primary=FAR)
    assert f"This host has no route to {NOWHERE}." in run(host, primary=NOWHERE)


def test_a_wrong_clock_is_told(host: BareHost) -> None:
    """Minutes of difference are a warning, and no hindrance."""
    said = run(host, off=-600)

    assert "Warning: The clock of this host is 10 min off the primary's" in said
    assert f"Error: {NEAR} does not answer on port 8083" in said


def test_little_room_is_overruled_and_nothing_else(host: BareHost) -> None:
    """With -y a small disk is a warning; a taken host stays a mistake."""
    little = LACKS[2].values[0]

    assert f"Error: {NEAR} does not answer" in run(host, little, option="-y")
    assert NOTHING_INSTALLED in run(host, LACKS[6].values[0], option="-y")


def test_all_lacks_are_told_at_once(host: BareHost) -> None:
    """Who has three things to mend hears of all three."""
    said = run(host, "".join(lack.values[0] for lack in LACKS[5:8]))

    assert said.count("Error: ") == 3
