"""Rules of the alert queue: alerts wait, channels back off, old alerts expire."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.web.alert_receiver import ALERTS, LAG, LOST, Receiver, hook, outbox, send
from tests.web.web_visitor import Visitor, basic
from twistlock_console.alerts import store
from twistlock_console.alerts.rules import AlertState, Notice
from twistlock_console.database.client import Db
from twistlock_console.settings import Settings


def test_an_alert_that_was_not_delivered_waits(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """Alerts keep their order, also over a failover: the queue is in the database."""
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


def test_a_failed_channel_backs_off(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """There is a backoff before the next attempt; a redirect counts as a failure."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.status = 307
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], ["webhook"])
    box = outbox(running)

    send(box, database)
    send(box, database)

    assert len(receiver.got) == 1
    assert len(store.read_queue(database, "webhook", 9)) == 1


def test_an_undelivered_alert_expires_after_a_day(
    admin: Visitor, receiver: Receiver, running: Settings, database: Db
) -> None:
    """The next alert is tried; the length of the queue is limited."""
    admin.call(ALERTS, hook(receiver), Authorization=basic())
    receiver.server.server_close()
    store.enqueue(database, [Notice(LOST, 1, AlertState.RAISED)], ["webhook"])
    long_ago = datetime.now(UTC) - timedelta(days=2)
    database[store.QUEUE].update_many({}, {"$set": {"created": long_ago}})

    send(outbox(running), database)

    assert store.read_queue(database, "webhook", 9) == []


@pytest.mark.parametrize("address", ["udp://a..b:514", "tcp://[x:514"])
def test_an_invalid_stored_address_is_a_failed_attempt(
    admin: Visitor, running: Settings, database: Db, address: str
) -> None:
    """Backoff and expiry apply as always; the page shows what to correct."""
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


def test_each_channel_has_a_queue_limit_of_its_own(
    database: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts that wait for syslog do not use the limit of the webhook's queue."""
    monkeypatch.setattr("twistlock_console.alerts.store.MAX_QUEUED", 2)
    notices = [Notice(LOST, number, AlertState.RAISED) for number in (1, 2, 3)]
    store.enqueue(database, notices, ["syslog"])

    store.enqueue(database, notices[:1], ["syslog", "webhook"])

    assert len(store.read_queue(database, "syslog", 9)) == 2
    waiting = [each.notice for each in store.read_queue(database, "webhook", 9)]
    assert waiting == notices[:1]
