"""Alerts that a channel has not taken: they wait, rest and are given up."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.web.alert_receiver import ALERTS, LAG, LOST, Receiver, hook, outbox, send
from tests.web.web_visitor import Visitor, basic
from twistlock_console.alerts import store
from twistlock_console.alerts.rules import AlertState, Notice
from twistlock_console.database.client import Db
from twistlock_console.settings import Settings


def test_what_was_not_taken_waits(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """In its order, over a failover too: the queue is in the database."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.status = 503
    notices = [
        Notice(LOST, 1, AlertState.RAISED),
        Notice(LOST, 1, AlertState.RECOVERED),
    ]
    store.enqueue(database, notices[:1], ["webhook"])
    store.enqueue(database, notices[1:], ["webhook"])
    store.enqueue(database, notices[1:], ["webhook"])
    send(outbox(running), database)
    tries = len(receiver.got)
    receiver.status = 204

    send(outbox(running), database)

    states = [body["state"] for body in receiver.bodies()]
    assert tries == 1
    assert states == ["raised", "raised", "recovered"]
    assert store.read_queue(database, "webhook", 9) == []
    assert store.read_records(database)[LOST.key].is_open is False


def test_a_failed_channel_rests(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """It is not asked again at once; a redirect is no acceptance."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.status = 307
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], ["webhook"])
    box = outbox(running)

    send(box, database)
    send(box, database)

    assert len(receiver.got) == 1
    assert len(store.read_queue(database, "webhook", 9)) == 1


def test_after_a_day_an_alert_is_given_up(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """And the next one is tried; the queue has its bound."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.server.server_close()
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], ["webhook"])
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database[store.QUEUE].update_many({}, {"$set": {"created": long_ago}})

    send(outbox(running), database)

    assert store.read_queue(database, "webhook", 9) == []


@pytest.mark.parametrize("address", ["udp://a..b:514", "tcp://[x:514"])
def test_an_address_that_was_stored_and_is_none_is_a_failed_attempt(
    admin: Visitor, running: Settings, database: Db, address: str
) -> None:
    """The channel rests and gives up as always; the page shows what to mend."""
    syslog = {"enabled": True, "addr": address, "format": "rfc5424"}
    database["settings"].insert_one({"_id": "logging", "syslog": syslog})
    notices = [Notice(LOST, 1, AlertState.RAISED), Notice(LAG, 1, AlertState.RAISED)]
    store.enqueue(database, notices[:1], ["syslog"])
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database[store.QUEUE].update_many({}, {"$set": {"created": long_ago}})
    store.enqueue(database, notices[1:], ["syslog"])

    send(outbox(running), database)
    answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())
    page = admin.get("/manage/alerts/logging").get_data(as_text=True)

    waiting = [each.notice for each in store.read_queue(database, "syslog", 9)]
    assert waiting == notices[1:]
    assert answer.status_code == 400
    assert f"the syslog server {address}" in answer.get_json()["err"]
    assert f'value="{address}"' in page


def test_a_full_queue_is_that_of_its_channel_alone(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts that syslog does not take leave room for those of the webhook."""
    monkeypatch.setattr("twistlock_console.alerts.store.MAX_QUEUED", 2)
    notices = [Notice(LOST, number, AlertState.RAISED) for number in (1, 2, 3)]
    store.enqueue(database, notices, ["syslog"])

    store.enqueue(database, notices[:1], ["syslog", "webhook"])

    assert len(store.read_queue(database, "syslog", 9)) == 2
    waiting = [each.notice for each in store.read_queue(database, "webhook", 9)]
    assert waiting == notices[:1]
