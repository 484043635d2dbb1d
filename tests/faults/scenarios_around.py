"""Scenarios of what is around a node: network, clocks and disks."""

from tests.faults import steps as do
from tests.faults import steps_machine as machine
from tests.faults import steps_network as network
from tests.faults.grounds import Ground
from tests.faults.scenario import Expect, Scenario

NETWORK = (
    Scenario(
        "link down 60 s",
        "29",
        (network.unplug(), do.pause(60), network.plug(), do.pause(3)),
    ),
    Scenario(
        "is not heard by its peers, hears them",
        "20",
        (network.firewall("drop_to", "primary", "standbys"),),
    ),
    Scenario(
        "database port dropped on the primary",
        "23",
        (network.block_port(27017, "primary"),),
    ),
    Scenario(
        "node API's port dropped on the primary",
        "23",
        (network.block_port(8086, "primary"),),
        expect=Expect.SERVES,
        watched=15,
    ),
    Scenario(
        "connections to the peers reset",
        "24",
        (network.firewall("reset", "primary", "standbys"),),
    ),
    Scenario(
        "30 % of packets lost on all hosts 20 s",
        "25",
        (network.lose(0.3),),
        expect=Expect.SERVES,
        budget=25,
        watched=20,
    ),
    Scenario(
        "link flaps 1 s on, 1 s off, 2 min",
        "28",
        (network.flap(120),),
        expect=Expect.SERVES,
        budget=15,
        watched=124,
    ),
    Scenario(
        "large packets vanish on the primary",
        "30",
        (network.rule("-m", "length", "--length", "1300:65535", "-j", "DROP"),),
        expect=Expect.SERVES,
        budget=20,
        watched=15,
    ),
    Scenario(
        "established connections of the primary die",
        "31",
        (network.rule("-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "DROP"),),
    ),
    Scenario(
        "no new connections to the primary",
        "31",
        (network.rule("-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"),),
        expect=Expect.SERVES,
        budget=20,
        watched=10,
    ),
    Scenario(
        "a standby unplugged",
        "33",
        (network.unplug("standby"),),
        expect=Expect.STAYS,
        watched=10,
    ),
)

CLOCKS = tuple(
    Scenario(
        name,
        cases,
        steps,
        expect=expect,
        budget=20,
        watched=10,
        ground=Ground.CLOCKS,
    )
    for name, cases, steps, expect in (
        ("primary's clock +1 h", "36", (machine.step_clock("+3600"),), Expect.STAYS),
        ("primary's clock -1 h", "37", (machine.step_clock("-3600"),), Expect.STAYS),
        (
            "a standby's clock -60 s",
            "37",
            (machine.step_clock("-60", "standby"),),
            Expect.STAYS,
        ),
        ("all clocks +1 h", "36", (machine.step_clock("+3600", "all"),), Expect.STAYS),
        (
            "a standby's clock +1 y",
            "36",
            (machine.step_clock("+31536000", "standby"),),
            Expect.STAYS,
        ),
        (
            "cut from its peers, its clock -60 s",
            "38",
            (
                network.firewall("cut", "primary", "standbys"),
                machine.step_clock("-60", wait=False),
            ),
            Expect.MOVES,
        ),
        (
            "its clock -1 h, then unplugged",
            "38",
            (machine.step_clock("-3600"), network.unplug()),
            Expect.MOVES,
        ),
        ("strobe of 200 s", "39", (machine.strobe_clock(200, 3),), Expect.STAYS),
        ("10 % drift", "40", (machine.step_clock("+0 x1.1"),), Expect.STAYS),
    )
)

DISKS = (
    Scenario(
        "database volume of the primary full",
        "43",
        (machine.fill("database"),),
        expect=Expect.SERVES,
        budget=25,
        # Its journal has room for a while; a checkpoint a minute has not.
        watched=75,
        ground=Ground.DISKS,
    ),
    Scenario(
        "database volume of a standby full",
        "43",
        (machine.fill("database", "standby"),),
        expect=Expect.STAYS,
        watched=10,
        ground=Ground.DISKS,
    ),
    Scenario(
        "log volume of the primary full",
        "44",
        (machine.fill("log"),),
        expect=Expect.SERVES,
        watched=10,
        ground=Ground.DISKS,
    ),
)
