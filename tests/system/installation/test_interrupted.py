"""A run that ends too early leaves the Console that was there before, at every step."""

import os
from collections.abc import Iterator

import pytest

from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.installation.toy_host import DATA, PROGRAMS, ToyHost

#: Every how many steps one is tried; EVERY_STEP=1 tries all of them, in a few minutes.
EVERY = int(os.environ.get("EVERY_STEP", "6"))
pytestmark = [
    pytest.mark.needs("ip", "nsenter", "setpriv", "unshare", root=True),
    pytest.mark.timeout(3000 if EVERY == 1 else 600),
]
#: What an upgrade does after it has checked; each command in it is a step.
FUNCTIONS = (
    "make_release_folder make_folders lay_marks stage swap switch_over start_console "
    "stop_console wait_until_it_runs"
)
# Read by bash before the installer. It counts the first command of each line in the
# functions above; before the one that is asked for the installer alone gets a signal.
COUNTING = """
declare -A SEEN
STEP=0
step() { # FUNCTION LINE
    [ "$BASHPID" = $$ ] && [ -z "${SEEN[$2]-}" ] && [[ " %s " = *" $1 "* ]] || return 0
    SEEN[$2]=yes STEP=$((STEP + 1))
    echo "$STEP $1 $2" >>/root/steps
    [ "$STEP" != "$KILL_AT" ] || kill -s "$SIGNAL" $$
}
set -T
trap 'step "${FUNCNAME[0]-}" "$LINENO"' DEBUG
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyHost]:
    """A host with a Console; each test leaves one behind."""
    with Laboratory(tmp_path_factory.mktemp("interrupted")) as laboratory:
        host = ToyHost(laboratory.host("h2"))
        ran = host.twistlock("-s console", CONSOLE_CN="first")
        assert ran.code == 0, ran.said
        host.tree("/root/counting").write_text(COUNTING % FUNCTIONS)
        yield host


def upgrade(
    host: ToyHost, kill_at: int = 0, signal: str = "TERM"
) -> tuple[str, list[str]]:
    """Run an upgrade that is ended at a step; what it said, and its steps."""
    host.bash("rm -f /root/steps")
    before = f"export BASH_ENV=/root/counting KILL_AT={kill_at} SIGNAL={signal}"
    ran = host.twistlock("-s console", before=before, CONSOLE_CN="second")
    return ran.said, host.bash("cat /root/steps").splitlines()


def test_each_step_may_be_the_last(installed: ToyHost) -> None:
    """The old Console runs with its settings and its release, and nothing is left."""
    host = installed
    said, steps = upgrade(host)
    assert "installed successfully" in said
    assert len(steps) > 60
    back = host.twistlock("-s console", CONSOLE_CN="first")
    assert back.code == 0
    before, files = host.running(), state(host)

    for number in range(1, len(steps) + 1, EVERY):
        said, done = upgrade(host, number)
        place = f"{steps[number - 1]}: {said}"
        assert len(done) >= number, place
        assert "Twistlock Console was not installed" in said, place
        wait_for(host.serves, 30, f"the old Console after {place}")
        assert host.running() == before, place
        assert state(host) == files, place


def state(host: ToyHost) -> dict[str, str]:
    """All files but those of which the Console makes new ones as it starts."""
    return host.listing(f"{DATA}/db", f"{DATA}/log", f"{DATA}/run")


@pytest.mark.parametrize("signal", ["HUP", "INT"])
def test_other_signals_are_as_term(installed: ToyHost, signal: str) -> None:
    """To the installer alone."""
    host = installed
    _, steps = upgrade(host)
    host.twistlock("-s console", CONSOLE_CN="first")
    before = host.running()

    said, _ = upgrade(host, last(steps, "swap"), signal)

    assert "Putting the earlier installation back" in said
    wait_for(host.serves, 30, "the old Console")
    assert host.running() == before


def test_a_killed_run_is_tidied_by_the_next(installed: ToyHost) -> None:
    """SIGKILL lets it put nothing back: the next one finds its way."""
    host = installed
    _, steps = upgrade(host)
    for name in ("stage", "swap", "start_console"):
        upgrade(host, last(steps, name), "KILL")

        ran = host.twistlock("-s console", CONSOLE_CN="third")

        assert ran.code == 0, ran.said
        assert "CONSOLE_CN=third" in host.running()[1]
        assert host.bash(f"ls {PROGRAMS}/releases | wc -l").strip() == "1"
        left = [p for p in state(host) if p.endswith((".next", ".before", ".new"))]
        assert left == []


def last(steps: list[str], function: str) -> int:
    """The number of the last step in *function*."""
    return int(next(s for s in reversed(steps) if f" {function} " in s).split()[0])
