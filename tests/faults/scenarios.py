"""The scenarios: `CHOSEN` is played by `make test`, `ALL` by `make chaos`.

Budgets are generous, since the machine that runs this may be small and busy; the
table shows what was measured.
"""

from signal import SIGSTOP, SIGTERM

from tests.faults import steps as do
from tests.faults import steps_network as network
from tests.faults.scenario import Expect, Scenario
from tests.faults.scenarios_around import CLOCKS, DISKS, NETWORK
from tests.faults.scenarios_hosts import PROCESSES, QUORUM

CHOSEN = (
    Scenario("node process killed", "1, 14", (do.end("node"),)),
    Scenario("mongod killed", "2", (do.end("mongod"),)),
    Scenario("all processes killed", "3", (do.end_all(),)),
    Scenario(
        "host frozen 6 s, requests queued",
        "7, 8",
        (do.freeze(), do.pause(6), do.thaw(), do.pause(2)),
        thaws=True,
    ),
    Scenario("node process hung", "5", (do.end("node", SIGSTOP),)),
    Scenario("mongod hung", "6", (do.end("mongod", SIGSTOP),)),
    Scenario("link down", "19", (network.unplug(),)),
    Scenario(
        "cut from both peers, not from users",
        "18",
        (network.firewall("cut", "primary", "standbys"),),
    ),
    Scenario(
        "hears nobody of its peers, is heard",
        "20",
        (network.firewall("drop_from", "primary", "standbys"),),
    ),
    Scenario(
        "cut from one peer, both see the third",
        "21",
        (network.firewall("cut", "primary", "standby"),),
        expect=Expect.STAYS,
        watched=15,
    ),
    Scenario(
        "management server killed",
        "59",
        (do.end("management"),),
        expect=Expect.SERVES,
        watched=4,
    ),
    Scenario("switchover by API", "57", (do.switch_over(),), budget=5),
    Scenario(
        "node process ended by SIGTERM", "4", (do.end("node", SIGTERM), do.start())
    ),
)

ALL = CHOSEN + PROCESSES + NETWORK + QUORUM + CLOCKS + DISKS

LEFT_OUT = {
    "8 (cgroup freezer)": "a frozen version 1 group outlives a killed runner, and what "
    "is in it cannot be killed; SIGSTOP to all at once stands for it",
    "9 (one thread)": "a signal stops whole processes",
    "10 (OOM kill)": "it is a SIGKILL of mongod, which is played",
    "15, 16, 34, 49, 55": "tested beside the code they concern",
    "26 (delay)": "many kernels lack netem",
    "27, 48, 50, 51, 54, 56, 58": "they concern joining, copying and backups",
    "32, 33, 35": "they need a name server, a load balancer or NAT in front",
    "41 (boot-time jump)": "no namespace can move that clock while it is in use",
    "42 (certificates)": "a year's step is played, their end is tested beside them",
    "45-47 (read-only, EIO, lost cache)": "they need a file system in user space",
    "60-62 (Defenders)": "in the Defenders' own tests and the benchmark",
}
