"""What support gets: every part of every reachable node, and no secret."""

import socket
import tarfile
from pathlib import Path
from stat import S_IMODE

import pytest

from twistlock_console.cli.support import collect, write
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.common.redaction import HIDDEN, redact
from twistlock_console.logs.setup import log_file
from twistlock_console.node_api.server import NodeApi, node_app
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    made = Settings(
        node_address="127.0.0.1",
        data_folder=tmp_path / "data",
        node_api_port=port,
        database_port=1,
    )
    made.folders.create()
    create_authority(made.folders.certificates)
    issue_node_certificate(made.folders.certificates, ["127.0.0.1"])
    (made.folders.secrets / "console.password").write_text(PLANTED)
    (made.folders.secrets / "console.password").chmod(0o600)
    log_file(made.folders).write_text('{"time": "T", "level": "INFO", ')
    return made


def test_one_file_has_it_all_and_no_secret(settings: Settings, tmp_path: Path) -> None:
    """For the owner alone; a silent node's reason is in it; never written over."""
    routes = node_app()
    support = Support(settings, lambda: {"serving": True, "sessionToken": PLANTED})
    support.peers = lambda: ["127.0.0.1", "127.0.0.2"]
    routes.add_url_rule("/v1/support", view_func=support.collect)
    api = NodeApi(settings, routes)
    api.open()
    output = tmp_path / "dump.tar.gz"
    try:
        write(output, collect(settings, ["127.0.0.3"]))
    finally:
        api.close()

    with tarfile.open(output) as tar:
        texts = {
            each.name.removeprefix("twistlock-support/"): tar.extractfile(each)
            for each in tar.getmembers()
        }
        found = {name: file.read().decode() for name, file in texts.items() if file}
    assert S_IMODE(output.stat().st_mode) == 0o600
    assert {name for name in found if name.startswith("127.0.0.1/")} == {
        "127.0.0.1/log.txt",
        "127.0.0.1/settings.json",
        "127.0.0.1/status.json",
        "127.0.0.1/versions.json",
    }
    assert "does not answer" in found["127.0.0.2/err.txt"]
    assert "127.0.0.3/err.txt" in found
    assert PLANTED not in "".join(found.values())
    with pytest.raises(Refused, match="cannot be written"):
        write(output, {})


def test_a_node_that_does_not_run_leaves_its_log(settings: Settings) -> None:
    """Why it ended is what is looked for."""
    told = collect(settings)["127.0.0.1"]

    assert set(told) == {"err", "log", "versions"}
