"""A rule of the hash queue: a process that was forked begins with its own."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hosts.waiting import wait_for
from tests.unit.accounts.test_hash_queue import occupied
from twistlock_console.accounts import passwords
from twistlock_console.accounts.login_throttle import HashCaller
from twistlock_console.accounts.passwords import MAX_CONCURRENT_HASHES, OTHER_PLACES


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """Threads that call the queue."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_a_forked_process_begins_with_an_empty_queue(
    callers: ThreadPoolExecutor,
) -> None:
    """It has none of the threads that held the slots before the fork."""
    with occupied(
        passwords.queue, callers, MAX_CONCURRENT_HASHES + OTHER_PLACES, HashCaller()
    ):
        child = os.fork()
        if child == 0:
            os._exit(0 if not passwords.matches(None, "any") else 1)
        try:
            ended = wait_for(lambda: exit_code(child), 20, "the end of the child")
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
    assert ended == [0]


def exit_code(pid: int) -> list[int]:
    """Return the exit code of the child, or nothing while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return [os.waitstatus_to_exitcode(status)] if ended else []
