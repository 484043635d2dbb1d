"""A fake of the node API, with the answers of a small cluster."""

from typing import Any

from twistlock_console.common.errors import Refused

NODE = {
    "address": "127.0.0.1",
    "state": "PRIMARY",
    "self": True,
    "version": "1",
    "lagSeconds": 0.0,
    "lastSeen": "2026-11-24T09:30:00.000+00:00",
    "reason": "the lease is held",
    "fingerprint": None,
}
CHANGE = {
    "_id": "1",
    "time": "2026-11-24T09:30:00.000+00:00",
    "address": "127.0.0.1",
    "from": "standby",
    "to": "primary",
    "reason": "the lease was free",
    "epoch": 1,
    "phases": {"lease": 0.1},
}
CLUSTER = {
    "enabled": True,
    "epoch": 1,
    "primary": "127.0.0.1",
    "applyReady": False,
    "applyReason": "two hosts must ask to join",
    "failuresSurvived": 0,
    "nodes": [NODE],
    "history": [CHANGE],
}
BACKUPS: dict[str, Any] = {
    "backups": [],
    "problem": "",
    "work": None,
    "results": {},
}
TOKEN = {"token": "token", "expiresAt": "2026-11-24T10:30:00+00:00"}


class FakeNodeApi:
    """Answers the web process; refuses the requests that a single node refuses."""

    def get(self, path: str) -> Any:
        """Return the cluster, its join tokens, or an empty list of backups."""
        if path == "/v1/backups":
            return BACKUPS
        if path.endswith("/join-tokens"):
            return [{"id": "1", "expiresAt": TOKEN["expiresAt"], "host": None}]
        return CLUSTER

    def post(self, path: str, _body: object) -> Any:
        """Return a join token; refuse everything else."""
        if path.endswith("/join-token"):
            return TOKEN
        raise Refused("two hosts must ask to join before one can be admitted")
