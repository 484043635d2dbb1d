"""Whatever is sent to the API, the answer is one that its description knows.

Schemathesis reads openapi.json and sends what fits it and what does not, to the whole
application on a real database. No answer may be a failure of ours (5xx), and none may
be other than described. The seed is fixed.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import wsgi
from plugins.ha.settings import HaSettings
from plugins.ha.web import node_client
from tests.web.fake_node_api import FakeNodeApi
from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME
from twistlock_console.accounts.passwords import hash_password
from twistlock_console.accounts.rights import UserRole
from twistlock_console.accounts.sessions import Session, write_token
from twistlock_console.accounts.users import find, new_document
from twistlock_console.settings import Settings
from twistlock_console.web.actions import backups
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.openapi.document import build_document
from twistlock_console.web.security.sessions import now

WITH_HA = HaSettings(enabled=True).values()

EXAMPLES = 5
#: After so long, on a busy machine, one example a call must do.
SECONDS = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def whole(running: Settings) -> Iterator[Flask]:
    """Return the whole application, with a node API that refuses most requests."""
    made = wsgi.create(replace(running, plugin_values=WITH_HA))
    made.extensions[node_client.EXTENSION] = FakeNodeApi()
    made.extensions[backups.EXTENSION] = FakeNodeApi()
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    database["settings"].insert_one({"_id": "initialized"})
    hashed = hash_password(PASSWORD)
    database["users"].insert_one(new_document(USERNAME, hashed, UserRole.ADMIN))
    yield made
    for name in database.list_collection_names():
        database[name].delete_many({})
    storage_of(made).close()


def token(app: Flask) -> str:
    """Return a new token: the calls may log out and change settings."""
    user = find(storage_of(app).database(), USERNAME)
    assert user is not None
    session = Session.start(user, now())
    return write_token(app.extensions["token_key"], session, user, 1800)


def attempt(app: Flask, operation: Any, mode: GenerationMode, examples: int) -> None:
    """Send *examples* requests of one call; raise the first error in an answer."""

    @seed(8083)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        headers = {"Authorization": f"Bearer {token(app)}"}
        case.call_and_validate(base_url=HTTPS, headers=headers, checks=CHECKS)

    send()


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_described(whole: Flask, mode: GenerationMode) -> None:
    """Each call gets requests that match its description and others that do not."""
    schema = schemathesis.openapi.from_dict(build_document(whole))
    schema.app = whole
    begun = time.monotonic()
    failures = []
    for result in schema.get_all_operations():
        late = time.monotonic() - begun > SECONDS
        try:
            attempt(whole, result.ok(), mode, 1 if late else EXAMPLES)
        except Unsatisfiable:
            # It takes nothing that could be wrong.
            assert mode is GenerationMode.NEGATIVE
        except (Exception, ExceptionGroup) as error:
            failures.append(f"{result.ok().label}: {error}")

    assert failures == []
