"""Call the Console's API as a user does: at the load balancer, or at any node."""

import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import urllib3

from demo.events import HTTPS_PORT
from demo.state import USER
from twistlock_console.common.errors import NodeUnreachable, Refused

CONNECT_TIMEOUT_S = 0.5
READ_TIMEOUT_S = 1.0
UNAUTHORIZED = 401
FAILED = 500


class ConsoleApi:
    """Calls one of *addresses*, and after a failure the next; for one thread.

    It logs in as the administrator when that is needed.
    """

    def __init__(self, addresses: Sequence[str], ca_file: Path, password: str) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        self._pools = [
            urllib3.HTTPSConnectionPool(
                address, HTTPS_PORT, ssl_context=context, maxsize=1, retries=False
            )
            for address in addresses
        ]
        self._password = password
        self._token = ""

    def get(self, path: str, *, seconds: float = READ_TIMEOUT_S) -> Any:
        """Return the JSON at *path*; raises NodeUnreachable or Refused."""
        return self._with_login("GET", path, None, seconds)

    def post(
        self, path: str, body: object = None, *, seconds: float = READ_TIMEOUT_S
    ) -> Any:
        """Send *body* to *path*; raises NodeUnreachable or Refused."""
        return self._with_login("POST", path, body, seconds)

    def is_serving(self) -> bool:
        """Return whether the present address answers; if not, use the next one."""
        try:
            self._ask("GET", "/api/v1/_ping", None, READ_TIMEOUT_S)
        except NodeUnreachable:
            return False
        return True

    def sign_up(self) -> None:
        """Create the administrator's account."""
        body = {"username": USER, "password": self._password}
        _checked(*self._ask("POST", "/api/v1/signup", body, 10.0))

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.close()

    def _with_login(self, method: str, path: str, body: object, seconds: float) -> Any:
        status, content = self._ask(method, path, body, seconds)
        if status == UNAUTHORIZED:
            self._log_in()
            status, content = self._ask(method, path, body, seconds)
        return _checked(status, content)

    def _log_in(self) -> None:
        body = {"username": USER, "password": self._password}
        answer = _checked(*self._ask("POST", "/api/v1/authenticate", body, 5.0))
        self._token = answer["token"]

    def _ask(
        self, method: str, path: str, body: object, seconds: float
    ) -> tuple[int, Any]:
        pool = self._pools[0]
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=seconds)
        try:
            answer = pool.request(
                method, path, json=body, headers=headers, timeout=timeout
            )
            content = answer.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._pools.append(self._pools.pop(0))
            raise NodeUnreachable(f"{pool.host} does not answer: {error}") from error
        if answer.status >= FAILED:
            raise NodeUnreachable(f"{pool.host}: {content.decode(errors='replace')}")
        return answer.status, _json(content)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _checked(status: int, content: Any) -> Any:
    if status != 200:
        given = content.get("err") if isinstance(content, dict) else None
        raise Refused(str(given or f"the Console answered with status {status}"))
    return content
