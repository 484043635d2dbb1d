"""`python -m tests.soak --minutes 60`: a cluster under a steady load; nothing may move.

Prints once a minute what was stored and read, and at the end role changes, closings
and how memory grew. Exit code 1 when the role changed or a port closed, or when less
was stored than asked for. Settings of the nodes may be given: `HIGH_AVAILABILITY_…=…`.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.waiting import wait_for
from tests.soak.load import EACH_PER_SECOND
from twistlock_console.common.clock import SECOND, boottime_ns

LONG_SESSION = 99_999
PAGE_KB = 4
ENOUGH = 0.95


def main() -> int:
    """Form a cluster, load it for so long, and judge."""
    parser = argparse.ArgumentParser(prog="tests.soak")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=300, help="stored writes a second")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keys = dict(setting.split("=", 1) for setting in options.settings)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        Laboratory(Path(folder)) as laboratory,
    ):
        cluster = Cluster(laboratory, **keys)
        cluster.form()
        return soak(cluster, options.minutes, options.rate)


def soak(cluster: Cluster, minutes: float, rate: int) -> int:
    """Load *cluster* and watch; gives the exit code."""
    node = cluster.nodes[cluster.wait_converged()]
    before = takeovers(cluster, node)
    counts: dict[str, int] = {}
    program = start_load(cluster, node, max(1, rate // EACH_PER_SECOND), counts)
    wait_for(lambda: counts.get("stored", 0) > rate, 60, "the load to begin")
    began, begun, first = boottime_ns(), dict(counts), memory(cluster)
    while (passed := (boottime_ns() - began) / SECOND) < minutes * 60:
        until = min(passed + 60, minutes * 60)
        end = began + round(until * SECOND)
        wait_for(lambda at=end: boottime_ns() > at, 90, "a minute", every=0.2)
        told(until, begun, counts, memory(cluster))
    seconds = (boottime_ns() - began) / SECOND
    program.terminate()
    program.wait(20)
    stored = (counts["stored"] - begun["stored"]) / seconds
    changes = takeovers(cluster, node) - before
    broken = counts["broken"] - begun["broken"]
    last = memory(cluster)
    grown = {name: f"{(last[name] - first[name]) / 1024:+.0f} MiB" for name in last}
    say(f"{stored:.0f} writes/s stored over {seconds / 60:.1f} minutes")
    say(f"role changes: {changes}; connections that broke: {broken}")
    say(f"memory of each host: {grown}")
    return 0 if not changes and not broken and stored >= ENOUGH * rate else 1


def start_load(
    cluster: Cluster, node: HostedNode, defenders: int, counts: dict[str, int]
) -> subprocess.Popen[bytes]:
    """Start the load on the clients' host; it keeps *counts* up to date."""
    root = cluster.laboratory.root / "papers"
    for number in range(defenders):
        cluster.defender_papers(f"d{number}", root / f"d{number}")
    logon = {"sessionTimeoutSec": LONG_SESSION}
    cluster.api.call(node.address, "POST", "/settings/logon", logon)
    token = root / "token"
    token.write_text(cluster.api.token(node.address))
    program = cluster.client.start(
        *(sys.executable, "-m", "tests.soak.load", "--papers", str(root)),
        *("--token", str(token), "--defenders", str(defenders), node.address),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    threading.Thread(target=_follow, args=(program, counts), daemon=True).start()
    return program


def _follow(program: subprocess.Popen[bytes], counts: dict[str, int]) -> None:
    assert program.stdout is not None
    for line in program.stdout:
        counts.update(json.loads(line))


def takeovers(cluster: Cluster, node: HostedNode) -> int:
    """How many changes of role are on record."""
    history: list[Any] = cluster.view(node)["history"]
    return len(history)


def memory(cluster: Cluster) -> dict[str, int]:
    """What the processes of each host take, in KiB; shared pages count each time."""
    return {
        name: sum(_resident(pid) for pid in node.host.processes())
        for name, node in cluster.nodes.items()
    }


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    except OSError:
        return 0


def told(
    seconds: float, begun: dict[str, int], counts: dict[str, int], used: dict[str, int]
) -> None:
    """Print how it goes."""
    done = {name: counts[name] - begun[name] for name in begun}
    hosts = ", ".join(f"{name} {kib / 1024:.0f} MiB" for name, kib in used.items())
    say(
        f"{seconds / 60:5.1f} min: {done['stored'] / seconds:.0f} writes/s, "
        f"{done['read'] / seconds:.1f} pages/s, {done['broken']} broken; {hosts}"
    )


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
