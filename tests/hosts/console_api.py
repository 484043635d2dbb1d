"""The Console's REST API, as an administrator on a test host uses it."""

import json
import ssl
from pathlib import Path
from typing import Any

import urllib3

from tests.hosts.laboratory import Host

USERNAME, PASSWORD = "admin", "Password-of-tests-1"
PORT = 8083


class ConsoleApi:
    """Calls from *host*, where *authority* gives the path of ca.pem."""

    def __init__(self, host: Host, authority: Path) -> None:
        self._host = host
        self._authority = authority

    def sign_up(self, address: str) -> None:
        """Make the first administrator."""
        self.call(address, "POST", "/signup", credentials())

    def token(self, address: str) -> str:
        """A token that every node accepts, as long as sessions last."""
        return str(self.call(address, "POST", "/authenticate", credentials())["token"])

    def call(self, address: str, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer; raises ConnectionError unless its status is 200."""
        text = self.text(address, method, path, body)
        return json.loads(text) if text else None

    def text(self, address: str, method: str, path: str, body: object = None) -> str:
        """Call with the password; raises ConnectionError unless it answers 200."""
        basic = urllib3.make_headers(basic_auth=f"{USERNAME}:{PASSWORD}")
        path = f"/api/v1{path}"
        try:
            with self._host.network(), self.pool(address) as pool:
                answer = pool.request(method, path, json=body, headers=basic)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(f"{method} {address}{path}: {error}") from error
        said = str(answer.data.decode(errors="replace"))
        if answer.status != 200:
            raise ConnectionError(f"{method} {address}{path}: {answer.status} {said}")
        return said

    def pool(self, address: str) -> urllib3.HTTPSConnectionPool:
        """Connections to the node at *address*; use them in the host's network."""
        return urllib3.HTTPSConnectionPool(
            address,
            PORT,
            ssl_context=ssl.create_default_context(cafile=str(self._authority)),
            timeout=urllib3.Timeout(connect=2, read=10),
            retries=False,
        )


def credentials() -> dict[str, str]:
    """What a log-in sends."""
    return {"username": USERNAME, "password": PASSWORD}
