"""Scenarios of processes and whole hosts, and of how many are left."""

from signal import SIGSTOP

from tests.faults import steps as do
from tests.faults import steps_machine as machine
from tests.faults import steps_network as network
from tests.faults.scenario import Expect, Scenario

PROCESSES = (
    Scenario(
        "node process stopped 1 s",
        "5",
        (do.end("node", SIGSTOP), do.pause(1), do.go_on("node")),
        expect=Expect.SERVES,
        watched=4,
    ),
    Scenario(
        "node process stopped 20 s",
        "5",
        (do.end("node", SIGSTOP), do.pause(20), do.go_on("node"), do.pause(2)),
    ),
    Scenario(
        "host frozen 60 s, requests queued",
        "7, 8",
        (do.freeze(), do.pause(60), do.thaw(), do.pause(2)),
        thaws=True,
    ),
    Scenario(
        "node process and mongod stopped 6 s",
        "7",
        (
            do.end("node", SIGSTOP),
            do.end("mongod", SIGSTOP),
            do.pause(6),
            do.go_on("mongod"),
            do.go_on("node"),
            do.pause(2),
        ),
    ),
    Scenario(
        "management server stopped 6 s, requests queued",
        "5",
        (
            do.end("management", SIGSTOP),
            do.pause(6),
            do.go_on("management"),
        ),
        expect=Expect.SERVES,
        watched=10,
    ),
    Scenario(
        "node and mongod killed",
        "3",
        (do.end("mongod"), do.end("node")),
    ),
    Scenario(
        "management server killed ten times",
        "11",
        (do.end_each_time("management", 10),),
        expect=Expect.SERVES,
        budget=20,
        watched=15,
    ),
    Scenario(
        "Defender server killed",
        "59",
        (do.end("defenders"),),
        expect=Expect.SERVES,
        watched=4,
    ),
    Scenario(
        "the next node killed while it takes over",
        "12, 57",
        (do.switch_over("standby"), do.pause(0.15), do.end_all("standby")),
        expect=Expect.SERVES,
        budget=20,
        watched=12,
    ),
    Scenario(
        "killed between closing and releasing",
        "13",
        (do.switch_over(), do.pause(0.03), do.end_all()),
    ),
    Scenario(
        "port taken where the role goes",
        "17",
        (
            machine.occupy(8083, 14, "standby"),
            do.switch_over("standby"),
        ),
        expect=Expect.SERVES,
        budget=20,
        watched=15,
    ),
    Scenario(
        "processors busy on all hosts 20 s",
        "false elections",
        (machine.burn(20),),
        expect=Expect.STAYS,
        watched=20,
    ),
)

QUORUM = (
    Scenario(
        "both standbys killed",
        "52",
        (do.end_all("standbys"),),
        expect=Expect.CLOSES,
        budget=5,
        watched=12,
    ),
    Scenario(
        "both standbys unplugged",
        "52",
        (network.unplug("standbys"),),
        expect=Expect.CLOSES,
        budget=5,
        watched=12,
    ),
    Scenario(
        "all unplugged from each other",
        "52",
        (network.unplug("all"),),
        expect=Expect.CLOSES,
        budget=5,
        watched=10,
    ),
    Scenario(
        "all power-cycled, the primary last",
        "53",
        (
            do.end_all("all"),
            do.start("other"),
            do.pause(2),
            do.start("standby"),
            do.pause(2),
            do.start("primary"),
        ),
        expect=Expect.SERVES,
        budget=40,
        watched=30,
    ),
    Scenario(
        "all power-cycled at once",
        "53",
        (do.end_all("all"), do.start("all")),
        expect=Expect.SERVES,
        budget=40,
        watched=25,
    ),
    Scenario(
        "two asked for a switchover at once",
        "57",
        (do.switch_over("standby"), do.try_switch_over("other")),
        expect=Expect.SERVES,
        watched=8,
    ),
)
