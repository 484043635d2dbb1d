"""Rules of the settings of alerts and logging: validation, secrets, test alerts."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from flask import Flask

from tests.web.alert_receiver import (
    ALERTS,
    LOGGING,
    SECRET,
    TRAIL,
    Receiver,
    hook,
    webhook,
)
from tests.web.web_visitor import PASSWORD, Visitor, basic
from twistlock_console.accounts.rights import UserRole
from twistlock_console.alerts.settings import (
    AlertSettings,
    read_settings,
)
from twistlock_console.database.client import Db


def test_the_secret_is_encrypted(admin: Visitor, receiver: Receiver) -> None:
    """API and history show it encrypted; the encrypted form can be sent back."""
    saved = admin.call(ALERTS, hook(receiver), Authorization=basic())
    shown = admin.get(ALERTS, Authorization=basic()).get_json()

    again = admin.call(ALERTS, shown, Authorization=basic())
    history = admin.get("/api/v1/audits/mgmt", Authorization=basic()).get_data(True)

    assert (saved.status_code, again.status_code) == (200, 200)
    assert set(shown["webhook"]["secret"]) == {"encrypted"}
    assert SECRET not in json.dumps(shown) + history
    assert shown["webhook"]["secret"]["encrypted"] not in history
    assert "changed the settings of alerts" in history


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (ALERTS, webhook(url="ftp://a/b"), "write a full address"),
        (ALERTS, webhook(url="https://user:pw@a/b"), "write a full address"),
        (ALERTS, webhook(url="https://[a/b"), "write a full address"),
        (ALERTS, webhook(secret={"plain": "short"}), "at least 16 characters"),
        (ALERTS, webhook(secret={}), "give one; alerts are signed with it"),
        (ALERTS, webhook(secret={"encrypted": "forged"}), "did not write it"),
        (ALERTS, {"nodeLostSeconds": 0}, "greater than or equal to 1"),
        (LOGGING, {"syslog": {"addr": "host:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://[x:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://host#x:514"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "udp://host:\u0663"}}, "write udp://host:port"),
        (LOGGING, {"syslog": {"addr": "tcp://host:99999"}}, "from 1 to 65535"),
        (LOGGING, {"syslog": {"addr": "udp://a..b:514"}}, "neither a name nor an IPv4"),
        (LOGGING, {"syslog": {"addr": "udp://\u2100:514"}}, "neither a name nor"),
        (LOGGING, {"syslog": {"addr": "unix:///run/\0"}}, "write udp://host:port"),
    ],
)
def test_wrong_settings_are_refused(
    admin: Visitor, path: str, body: object, sentence: str
) -> None:
    """The error is one sentence that says what is valid."""
    answer = admin.call(path, body, Authorization=basic())

    assert answer.status_code == 400
    assert sentence in answer.get_json()["err"]


def test_the_page_keeps_the_secret_and_sends_a_test(
    admin: Visitor, receiver: Receiver
) -> None:
    """An empty field keeps the stored secret; the test shows its result."""
    form = "/manage/alerts/alerts"
    fields = {
        "enabled": "on",
        "url": receiver.url,
        "failover": "on",
        "nodeLostSeconds": "5",
        "memberLagSeconds": "6",
        "defendersLostMinutes": "7",
    }
    first = admin.send(form, secret=SECRET, **fields)
    second = admin.send(form, secret="", **fields)
    admin.send("/manage/alerts/test", form_on=form)
    page = admin.get(form).get_data(as_text=True)
    receiver.status = 500
    admin.send("/manage/alerts/test", form_on=form)
    failed = admin.get(form).get_data(as_text=True)
    wrong = admin.send(form, **{**fields, "nodeLostSeconds": "soon"})

    assert (first.status_code, second.status_code) == (303, 303)
    assert "The webhook at 127.0.0.1 accepted it." in page
    assert "The webhook at 127.0.0.1 answered with status 500." in failed
    assert wrong.status_code == 400
    headers, body = receiver.got[0]
    stamp, _, proof = headers["X-Twistlock-Signature"].partition(",v1=")
    signed = f"{stamp[2:]}.".encode() + body
    wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert proof == wanted
    assert json.loads(body)["kind"] == "test"


SLACK = "https://hooks.test:8443/services/T0/B0/PLANTED-7391?key=PLANTED-7391"
OTHER = "https://hooks.test:8443/services/T0/B0/PLANTED-other"
HOST_ONLY = "https://hooks.test:8443/(a secret)"


@pytest.mark.parametrize("role", [each.value for each in UserRole])
def test_the_path_of_the_webhook_is_hidden(
    admin: Visitor, app: Flask, database: Db, role: str
) -> None:
    """Settings and history hide it, including records of an earlier release."""
    for url in (SLACK, OTHER, SLACK):
        saved = admin.call(ALERTS, webhook(url=url), Authorization=basic())
        assert saved.status_code == 200
    before = f'+    "url": "{SLACK}",'
    older = {"time": datetime.now(UTC), "type": "settings", "username": "admin"}
    address = {"sourceIP": "192.0.2.7", "api": "/x", "failure": False}
    database["audits_mgmt"].insert_one(
        {**older, **address, "diff": before, "status": SLACK}
    )
    user = {"username": "jane", "password": PASSWORD, "role": role}
    assert admin.call("/api/v1/users", user, Authorization=basic()).status_code == 200
    reader = Visitor(app.test_client())
    reader.log_in("jane")
    proof = basic("jane")

    shown = reader.get(ALERTS, Authorization=proof).get_json()
    texts = [
        reader.get(path, Authorization=proof).text
        for path in (ALERTS, TRAIL, f"{TRAIL}/download")
    ]
    texts += [
        reader.get(path).text
        for path in ("/manage/alerts/alerts", "/manage/logs/history")
    ]

    assert "PLANTED" not in "".join(texts)
    assert shown["webhook"]["url"] == HOST_ONLY
    assert HOST_ONLY in texts[1]
    assert "https://hooks.test:8443/(another secret)" in texts[1]
    sealed = shown["webhook"]["secret"]["encrypted"]
    assert (sealed == "(a secret)") is (role != UserRole.ADMIN.value)


def test_settings_with_hidden_secrets_can_be_sent_back(
    admin: Visitor, database: Db
) -> None:
    """The secrets are kept, but only while the host of the address is unchanged."""
    admin.call(ALERTS, webhook(url=SLACK), Authorization=basic())
    stored = read_settings(database, AlertSettings)
    shown = admin.get(ALERTS, Authorization=basic()).get_json()
    hidden = {**shown["webhook"], "secret": {"encrypted": "(a secret)"}}

    answers = [
        admin.call(ALERTS, body, Authorization=basic()).status_code
        for body in (shown, {**shown, "webhook": hidden})
    ]
    form = {"enabled": "on", "url": HOST_ONLY, "secret": ""}
    numbers = dict.fromkeys(
        ("nodeLostSeconds", "memberLagSeconds", "defendersLostMinutes"), "5"
    )
    by_page = admin.send("/manage/alerts/alerts", **form, **numbers)
    kept = read_settings(database, AlertSettings).webhook
    elsewhere = admin.call(
        ALERTS,
        webhook(url=HOST_ONLY.replace("hooks", "evil")),
        Authorization=basic(),
    )

    assert answers == [200, 200]
    assert by_page.status_code == 303
    assert kept == stored.webhook
    assert elsewhere.status_code == 400
    assert "webhook.url: write the full address" in elsewhere.get_json()["err"]


def test_the_logging_page_saves(admin: Visitor) -> None:
    """Syslog and metrics are stored; the page shows the reason of a refusal."""
    page = "/manage/alerts/logging"
    sent = {"enabled": "on", "format": "rfc3164", "metrics": "on"}
    saved = admin.send(page, addr="udp://127.0.0.1:514", **sent)
    wrong = admin.send(page, addr="nowhere", **sent)

    shown = admin.get(LOGGING, Authorization=basic()).get_json()
    assert (saved.status_code, wrong.status_code) == (303, 400)
    assert shown["syslog"]["addr"] == "udp://127.0.0.1:514"
    assert shown["enableMetricsCollection"] is True
    assert 'value="udp://127.0.0.1:514"' in admin.get(page).get_data(as_text=True)


def test_a_test_without_channels_is_refused(admin: Visitor) -> None:
    """Without webhook and syslog, a test alert is refused."""
    answer = admin.call(f"{ALERTS}/test", {}, Authorization=basic())

    assert answer.status_code == 400
    assert "switch a webhook or syslog on" in answer.get_json()["err"]
