"""Backups of a node that runs: over its node API, from the command line, by itself."""

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.backups.alone_node import PROJECT, BackupsOfNode, serving
from tests.backups.kill_rounds import Rounds
from tests.hosts.waiting import wait_for
from twistlock_console.common.errors import Refused


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[BackupsOfNode]:
    """One node that serves; killed at the end."""
    with serving(request, "backups", "127.0.0.82") as node:
        yield node


def command(node: BackupsOfNode, *words: str, typed: str = "") -> tuple[int, str]:
    """Run `twistlock-console`; its exit code, and all that it said."""
    done = subprocess.run(
        [sys.executable, "app.py", *words, "--config", str(node.config)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        input=typed,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_life_of_a_backup(running: BackupsOfNode) -> None:
    """Created, listed, verified by a trial, renamed, restored and deleted."""
    running.at_database("write", "1", "500")
    assert command(running, "backup", "create", "mine")[0] == 0
    (made,) = running.listed()
    running.at_database("write", "2", "10")

    code, said = command(running, "backup", "verify", "--restore", made["id"])
    assert code == 0, said
    code, said = command(running, "backup", "rename", made["id"], "yours")
    assert code == 0, said
    file = said.strip()
    code, said = command(running, "backup", "restore", file)
    assert code == 0, said
    wait_for(
        lambda: running.at_database("show")["generations"] == [[1]] * 3,
        20,
        "the restored data",
        every=0.2,
    )
    wait_for(running.serves, 20, "it serves again")
    assert file in command(running, "backup", "list")[1]
    assert command(running, "backup", "delete", file)[0] == 0
    assert running.listed() == []


def test_two_at_once_are_refused(running: BackupsOfNode) -> None:
    """The second is told to wait, and the first goes on."""
    running.at_database("write", "1", "3000")
    run = running.order("create", name="first")

    with pytest.raises(Refused, match=r"another backup is running \(first\)"):
        running.order("create", name="second")

    assert running.ended(run)["error"] == ""


def test_the_console_makes_its_own(running: BackupsOfNode) -> None:
    """Once due: one of each kind, and no second one that day."""
    running.at_database("make-due")

    wait_for(
        lambda: (
            {each["name"] for each in running.listed() if each["verified"]}
            >= {"daily", "weekly", "monthly"}
        ),
        40,
        "three system backups",
        every=0.5,
    )

    results = running.ask("/v1/backups")["results"]
    assert {results[kind]["state"] for kind in ("daily", "weekly")} <= {
        "done",
        "running",
    }


def test_the_other_restore_needs_the_console_to_be_down(running: BackupsOfNode) -> None:
    """It says what to do instead, and nothing is changed."""
    code, said = command(running, "restore", typed="0\n")

    assert code == 1
    assert "Please select from the following:\n0: " in said
    assert "Another Console runs" in said
    assert "backup restore" in said


def test_sigkill_leaves_nothing_half_done(running: BackupsOfNode) -> None:
    """A few of the rounds that `make chaos` plays twenty of."""
    wait_for(lambda: running.ask("/v1/backups")["work"] is None, 60, "idle")
    for each in running.listed():
        command(running, "backup", "delete", each["id"])
    chance = random.Random(6)  # noqa: S311 - always the same
    rounds = Rounds(running, chance, documents=2000)

    rounds.of_a_backup(1)
    assert rounds.of_a_restore(2) in ("old data", "new data")


def test_a_dead_console_is_restored_from_the_list(running: BackupsOfNode) -> None:
    """Chosen by its number, on a host whose Console is stopped."""
    running.at_database("write", "9", "10")
    running.stop()

    wrong = command(running, "restore", typed="17\n")
    code, said = command(running, "restore", typed="0\n")
    running.start()

    assert (wrong[0], code) == (1, 0), said
    assert running.at_database("show")["generations"] != [[9]] * 3
    assert running.ask("/v1/status")["epoch"] > 1_000_000
