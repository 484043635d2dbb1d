"""Logins have threads of their own, and wait without one."""

import pytest

from twistlock_console.servers.management.fixed_answers import is_login


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/login", True),
        ("POST", "/login/", True),
        ("POST", "//login", True),
        ("POST", "/%6cogin", True),
        ("POST", "/signup", True),
        ("POST", "/api/v1/authenticate", True),
        ("POST", "/api/v1/signup", True),
        ("GET", "/login", False),
        ("GET", "/api/v1/authenticate/renew", False),
        ("POST", "/logout", False),
        ("POST", "/api/v1/users", False),
        ("POST", "/api/v1/_ping", False),
    ],
)
def test_what_a_login_is(method: str, path: str, answer: bool) -> None:
    """What has a password checked for a stranger, however its path is written."""
    assert is_login(method, path) is answer
