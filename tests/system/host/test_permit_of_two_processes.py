"""A permit is shared with the processes that a node starts."""

from multiprocessing import get_context
from multiprocessing.connection import Connection

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.system.serving_permit import Permit


def watch(permit: Permit, pipe: Connection) -> None:
    """Tell what the child sees, each time it is asked."""
    while pipe.recv():
        pipe.send((permit.epoch, permit.valid(boottime_ns())))


def test_a_child_sees_each_change_at_once() -> None:
    """The numbers live in shared memory: nothing has to be sent."""
    permit = Permit()
    # Not the servers' own way of starting: other tests want to start that first.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=watch, args=(permit, theirs), daemon=True)
    child.start()

    def seen() -> tuple[int, bool]:
        ours.send(True)
        answer: tuple[int, bool] = ours.recv()
        return answer

    answers = [seen()]
    permit.grant(1, boottime_ns() + 60 * SECOND)
    answers.append(seen())
    permit.grant(2, boottime_ns() - 1)
    answers.append(seen())
    ours.send(False)
    child.join()

    assert answers == [(0, False), (1, True), (2, False)]
    ours.close()
    theirs.close()
    child.close()
