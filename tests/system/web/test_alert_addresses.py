"""Rules of the addresses to which no alert is sent."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.web.alert_receiver import ALERTS, LOGGING, Receiver, webhook
from tests.web.web_visitor import Visitor, basic
from twistlock_console.settings import Settings
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of


@pytest.fixture
def strict(running: Settings) -> Iterator[Visitor]:
    """Return an administrator of a Console that allows no special addresses."""
    made = create_app(replace(running, alert_targets_allowed=()))
    made.testing = True
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    visitor = Visitor(made.test_client())
    visitor.sign_up()
    yield visitor
    storage_of(made).close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "api.localhost.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        "224.0.0.1",
        "127.1",
        "2130706433",
    ],
)
def test_a_special_address_is_not_saved(strict: Visitor, host: str) -> None:
    """Webhook and syslog refuse it, and name the setting that allows it."""
    hook = webhook(url=f"https://{host}:9200/x")
    answers = [strict.call(ALERTS, hook, Authorization=basic())]
    if not host.startswith("["):
        syslog = {"syslog": {"enabled": True, "addr": f"tcp://{host}:9200"}}
        answers.append(strict.call(LOGGING, syslog, Authorization=basic()))

    for answer in answers:
        assert answer.status_code == 400
        assert (
            "is in ALERT_TARGETS_ALLOWED in twistlock.cfg" in answer.get_json()["err"]
        )


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "udp"])
def test_a_name_is_judged_by_the_address_it_leads_to(
    strict: Visitor, receiver: Receiver, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is part of the connection; open and closed ports answer the same."""
    real = socket.getaddrinfo

    def rebound(name: str, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if name == "rebound.test" else name, *rest, **more)

    # The resolver is the system's: this one leads a name to the loopback.
    monkeypatch.setattr("socket.getaddrinfo", rebound)
    sentences = []
    for port in (receiver.server.server_port, 1):
        address = f"{scheme}://rebound.test:{port}"
        if scheme.startswith("http"):
            saved = strict.call(ALERTS, webhook(url=address), Authorization=basic())
        else:
            body = {"syslog": {"enabled": True, "addr": address}}
            saved = strict.call(LOGGING, body, Authorization=basic())
        assert saved.status_code == 200, saved.get_json()
        answer = strict.call(f"{ALERTS}/test", {}, Authorization=basic())
        assert answer.status_code == 400
        sentences.append(answer.get_json()["err"].replace(address, "it"))

    assert sentences[0] == sentences[1]
    reason = "rebound.test leads to 127.0.0.1, which is a loopback address"
    assert reason in sentences[0]
    assert receiver.got == []
