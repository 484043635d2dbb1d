"""What every test shares."""

import pytest


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Keep pytest-flask from pushing a request context around each test.

    Its own fixture keeps one flask.g alive, in which Flask-Login keeps the user:
    a stranger would look logged in.
    """
