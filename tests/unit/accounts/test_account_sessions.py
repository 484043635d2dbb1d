"""Rules of sessions, tokens and remembered passwords."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from twistlock_console.accounts.passwords import CACHE_TTL_NS, MAX_CACHED, PasswordCache
from twistlock_console.accounts.rights import UserRole
from twistlock_console.accounts.sessions import (
    Session,
    SessionAge,
    derive_key,
    read_token,
    session_age,
    write_token,
)
from twistlock_console.accounts.users import User
from twistlock_console.common import clock

USER = User("jane", UserRole.ADMIN, "hash", 3, datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("elapsed", "verdict"),
    [
        (0, SessionAge.FRESH),
        (49, SessionAge.FRESH),
        (50, SessionAge.RENEW),
        (99, SessionAge.RENEW),
        (100, SessionAge.EXPIRED),
    ],
)
def test_a_session_is_renewed_at_half_its_time(
    elapsed: int, verdict: SessionAge
) -> None:
    """Half of the timeout renews, all of it ends."""
    session = Session.start(USER, 1000)

    assert session_age(session, 1000 + elapsed, 100) is verdict


def test_keys_serve_one_purpose() -> None:
    """A cookie's signature is worth nothing on a token."""
    assert derive_key(b"s" * 32, "a") != derive_key(b"s" * 32, "b")
    assert derive_key(b"s" * 32, "a") == derive_key(b"s" * 32, "a")


def test_a_token_gives_its_session_back() -> None:
    """What is written is read, with the right key only."""
    key = derive_key(b"s" * 32, "test")
    session = Session.start(USER, 1000).renewed(1_000_000_000)
    token = write_token(key, session, USER, 3_600_000_000)

    assert read_token(key, token) == session
    assert read_token(derive_key(b"s" * 32, "other"), token) is None


def test_another_nodes_clock_may_run_ahead() -> None:
    """After a failover, tokens of a node whose clock was ahead are still good."""
    key = derive_key(b"s" * 32, "test")
    session = Session.start(USER, int(time.time()) + 120)

    assert read_token(key, write_token(key, session, USER, 1800)) == session


def test_a_right_password_is_remembered_for_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts for this user, this password and this stored hash only."""
    remembered = PasswordCache()
    remembered.add(USER, "right")

    assert remembered.contains(USER, "right")
    assert not remembered.contains(USER, "wrong")
    assert not remembered.contains(replace(USER, password_hash="new"), "right")
    later = clock.boottime_ns() + CACHE_TTL_NS
    monkeypatch.setattr(clock, "boottime_ns", lambda: later)
    assert not remembered.contains(USER, "right")


def test_memory_is_bounded() -> None:
    """However many users there are, few passwords are remembered."""
    remembered = PasswordCache()
    for number in range(MAX_CACHED + 1):
        remembered.add(USER, str(number))

    assert not remembered.contains(USER, "0")
    assert remembered.contains(USER, str(MAX_CACHED))
