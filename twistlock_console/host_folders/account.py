"""Run an action as another account, to find out what that account may do.

Root may write nearly everywhere, but on a network file system with root_squash less
than others; so permissions are tried, never computed from modes.
"""

import grp
import os
import pwd
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

#: More than the largest twistlock.cfg.
MAX_ANSWER_BYTES = 2_000_000
#: How long one attempt may take: a network file system may not answer.
ATTEMPT_TIMEOUT_S = 20
_DONE, _FAILED = b"+", b"-"


class AttemptFailed(Exception):
    """The account could not run the action; the text is the system's reason."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group ids of the service's account."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def find_account(name: str, wanted_id: int) -> Account:
    """Return the account *name*, or the one that the installation will create.

    *wanted_id* is the number of a new one, if that is free.
    """
    with suppress(KeyError):
        entry = pwd.getpwnam(name)
        groups = tuple(os.getgrouplist(name, entry.pw_gid))
        return Account(name, entry.pw_uid, entry.pw_gid, groups)
    uid = _first_free(wanted_id, pwd.getpwuid)
    try:
        gid = grp.getgrnam(name).gr_gid
    except KeyError:
        gid = _first_free(wanted_id, grp.getgrgid)
    return Account(name, uid, gid)


def _first_free(number: int, find: Callable[[int], object]) -> int:
    while True:
        try:
            find(number)
        except KeyError:
            return number
        number += 1


def attempt(account: Account, action: Callable[[], str]) -> str:
    """Run *action* in a process of *account* and return what it returns.

    Raises AttemptFailed if *action* raises OSError, or takes ATTEMPT_TIMEOUT_S.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_as(account, action, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        result, text = answer.read(1), answer.read(MAX_ANSWER_BYTES).decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGALRM:
        raise AttemptFailed(f"no answer within {ATTEMPT_TIMEOUT_S} s")
    if result != _DONE:
        raise AttemptFailed(text or f"the attempt ended with {status}")
    return text


def _run_as(account: Account, action: Callable[[], str], writing: int) -> NoReturn:
    """Become *account*, run *action*, write its result to *writing*, and end."""
    answer = _FAILED
    try:
        signal.alarm(ATTEMPT_TIMEOUT_S)
        if os.geteuid() == 0:
            os.setgroups(account.groups)
            os.setgid(account.gid)
            os.setuid(account.uid)
        answer = _DONE + action().encode()
    except OSError as error:
        answer = _FAILED + (error.strerror or str(error)).encode()
    finally:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer[:MAX_ANSWER_BYTES])
        os._exit(0)
