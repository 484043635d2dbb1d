"""`python -m tests.hostile --minutes 10`: the hostile hour, as a table.

Every attack of this package goes on side by side against three nodes, while 300 events
are stored each second, 200 Defenders are connected, and honest clients ask. Exit code 1
when a rule was broken or an event was lost.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.hostile.client import ATTACKS
from tests.hostile.stage import HostileStage
from tests.hostile.table import show
from tests.hostile.verdict import broken_rules
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for
from tests.soak.__main__ import start_load
from tests.soak.load import EACH_PER_SECOND

DEFENDERS = 200
#: Of each of the 200 Defenders; the rest of the events come from a few busy ones.
EACH_RATE = 0.2
WRITES_PER_SECOND = 300
NAMES = "swarm-"
PORT = 8084
#: What the hour leaves out: 1,300 silent connections are played, not 10,000 as well.
LEFT_OUT = {"silent-tcp-10000"}


def main() -> int:
    """Form a cluster, attack it for so long, print and judge."""
    parser = argparse.ArgumentParser(prog="tests.hostile")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, help="leave logs and notes there")
    parser.add_argument("attacks", nargs="*", help="all if left out", metavar="ATTACK")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = options.attacks or [name for name in ATTACKS if name not in LEFT_OUT]
    with (
        tempfile.TemporaryDirectory(prefix="hostile-") as folder,
        Laboratory(options.keep or Path(folder)) as laboratory,
    ):
        cluster = Cluster(laboratory)
        cluster.form()
        return attack_for(cluster, names, options.minutes)


def attack_for(cluster: Cluster, names: Sequence[str], minutes: float) -> int:
    """Play the hostile hour on *cluster* and return the exit code."""
    stage = HostileStage(cluster)
    stage.prepare_revocations()
    counts: dict[str, int] = {}
    with load(cluster, counts), swarm(cluster) as found:
        began = counts["stored"]
        outcome = stage.play("hostile hour", names, minutes * 60)
        stored_each_second = (counts["stored"] - began) / (minutes * 60)
    show(outcome)
    kept = stored(cluster)
    lost = {name: n - kept.get(name, 0) for name, n in found.items()}
    lost = {name: n for name, n in lost.items() if n}
    say(f"{stored_each_second:.0f} events a second stored by busy Defenders")
    say(f"200 Defenders found {sum(found.values()):,} events; lost: {lost or 0}")
    return 1 if broken_rules(outcome) or lost else 0


@contextmanager
def load(cluster: Cluster, counts: dict[str, int]) -> Iterator[None]:
    """Have busy Defenders store events, and pages be read, until the context ends."""
    node = cluster.nodes[cluster.wait_converged()]
    busy = WRITES_PER_SECOND // EACH_PER_SECOND
    program = start_load(cluster, node, busy, counts)
    try:
        wait_for(lambda: counts.get("stored"), 60, "the load to begin")
        yield
    finally:
        program.terminate()
        program.wait(20)


@contextmanager
def swarm(cluster: Cluster) -> Iterator[dict[str, int]]:
    """Have 200 Defenders connected; gives how many events each found, at the end."""
    folder = Path(tempfile.mkdtemp(prefix="defenders-", dir="/dev/shm"))
    found: dict[str, int] = {}
    names = [f"{NAMES}{number:03}" for number in range(DEFENDERS)]
    for name in names:
        cluster.defender_papers(name, folder / name)
    notes = folder / "notes"
    notes.touch()
    addresses = [f"{node.address}:{PORT}" for node in cluster.nodes.values()]
    program = cluster.client.start(
        *(sys.executable, "-m", "tests.defender.swarm"),
        *("--notes", str(notes), "--rate", str(EACH_RATE)),
        *("--addresses", *addresses, "--", *(str(folder / name) for name in names)),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for(lambda: len(connected(notes)) == DEFENDERS, 90, "200 Defenders")
        yield found
        told, _ = program.communicate(timeout=180)
        found.update(json.loads(told))
    finally:
        program.kill()
        shutil.rmtree(folder)


def connected(notes: Path) -> set[str]:
    """Return the Defenders that have connected at least once."""
    lines = notes.read_text().splitlines(keepends=True)
    return {json.loads(line)[0] for line in lines if line.endswith("\n")}


def stored(cluster: Cluster) -> dict[str, int]:
    """Return how many events of each of the 200 Defenders a majority has."""
    node = cluster.nodes[cluster.wait_converged()]
    config = ["--config", str(node.host.folder / "twistlock.cfg"), "--like", NAMES]
    program = node.host.start(
        *(sys.executable, "-m", "tests.defender.stored", *config),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    told, _ = program.communicate(timeout=60)
    return {name: len(events) for name, events in json.loads(told).items()}


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
