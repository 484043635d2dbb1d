"""A server that receives the requests of a webhook, and an outbox that sends to it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from plugins.ha.declarations import MEMBER_LAG, NODE_LOST
from twistlock_console.alerts.dispatcher import AlertDispatcher
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.rules import Problem
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    SecretCipher,
    read_settings,
)
from twistlock_console.alerts.targets import TargetPolicy
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.database.client import Db
from twistlock_console.settings import Settings

TRAIL = "/api/v1/audits/mgmt"
ALERTS, LOGGING = "/api/v1/settings/alerts", "/api/v1/settings/logging"
SECRET = "only the receiver knows"
LOST = Problem(NODE_LOST.name, "10.0.0.2", "the node 10.0.0.2 is lost")
LAG = Problem(MEMBER_LAG.name, "10.0.0.3", "the database of 10.0.0.3 is 30 s behind")


class Receiver:
    """A server for the requests of a webhook; it answers with *status*."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self.server.serve_forever, args=(0.02,), daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


def hook(receiver: Receiver, **more: object) -> dict[str, object]:
    webhook = {"enabled": True, "url": receiver.url, "secret": {"plain": SECRET}}
    return {"webhook": webhook, **more}


def webhook(**fields: object) -> dict[str, object]:
    usual = {"enabled": True, "url": "https://a/b", "secret": {"plain": "x" * 16}}
    return {"webhook": {**usual, **fields}}


def outbox(settings: Settings) -> AlertDispatcher:
    cipher = SecretCipher(read_secret(settings.folders.secrets / "session.key"))
    policy = TargetPolicy(allowed=settings.alert_targets_allowed)
    return AlertDispatcher(cipher, Sender("127.0.0.1", "console", 1), lambda: policy)


def send(box: AlertDispatcher, database: Db) -> None:
    box.send(
        database,
        read_settings(database, AlertSettings),
        read_settings(database, LoggingSettings),
        threading.Event(),
    )
