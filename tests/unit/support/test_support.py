"""What support gets: every part of every reachable node, and no secret."""

from pathlib import Path

import pytest

from tests.hosts.ports import free_port
from twistlock_console.common.errors import DatabaseError
from twistlock_console.common.redaction import HIDDEN, redact
from twistlock_console.logs.setup import log_file
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings
from twistlock_console.support.bundle import Support

PLANTED = "PLANTED-7391"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"password": PLANTED}, {"password": HIDDEN}),
        ({"a": [{"joinToken": PLANTED}]}, {"a": [{"joinToken": HIDDEN}]}),
        (
            {"secret": {"encrypted": PLANTED, "plain": ""}},
            {"secret": {"encrypted": HIDDEN, "plain": ""}},
        ),
        ({"strongPassword": True}, {"strongPassword": True}),
        (
            {"url": f"https://hooks.test/{PLANTED}?x={PLANTED}"},
            {"url": f"https://hooks.test/{HIDDEN}"},
        ),
        ({"plainly": "kept", "n": 1}, {"plainly": "kept", "n": 1}),
    ],
)
def test_what_is_named_like_a_secret_is_left_out(value: object, told: object) -> None:
    """At any depth; switches and words that only look like it stay."""
    assert redact(value) == told


def test_a_part_that_fails_says_why(tmp_path: Path) -> None:
    """It spoils no other part."""
    settings = Settings(node_address="127.0.0.1", data_folder=tmp_path)

    def broken() -> object:
        raise DatabaseError("the database does not answer")

    support = Support(settings, lambda: {"serving": True})
    support.parts = {"broken": broken, "status": support.parts["status"]}

    assert support.collect() == {
        "parts": {
            "broken": {"err": "the database does not answer"},
            "status": {"serving": True},
        },
        "peers": [],
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node's folders with an identity; its database is not there."""
    made = Settings(
        node_address="127.0.0.1",
        data_folder=tmp_path / "data",
        node_api_port=free_port(),
        database_port=1,
    )
    made.folders.create()
    create_authority(made.folders.certificates)
    issue_node_certificate(made.folders.certificates, ["127.0.0.1"])
    (made.folders.secrets / "console.password").write_text(PLANTED)
    (made.folders.secrets / "console.password").chmod(0o600)
    log_file(made.folders).write_text('{"time": "T", "level": "INFO", ')
    return made
