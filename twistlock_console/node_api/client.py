"""A client of the node API, of a peer or of this node."""

from typing import Any, Self

import urllib3

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import NodeUnreachable, Refused, Removed
from twistlock_console.common.json_members import load_json
from twistlock_console.pki.tls import ReloadingTlsContext, client_context
from twistlock_console.settings import Settings


class NodeClient:
    """Sends requests to one node over persistent connections; any thread may use it.

    *timeout* is in seconds.
    """

    def __init__(
        self, settings: Settings, address: str, *, timeout: float = 5.0
    ) -> None:
        self.address = address
        self._port = settings.node_api_port
        self._timeout = urllib3.Timeout(connect=min(timeout, 2.0), read=timeout)
        folder = settings.folders.certificates
        self._tls = ReloadingTlsContext(lambda: client_context(folder), folder)
        self._current_tls = self._tls.current()
        self._pool = self._new_pool()

    def _new_pool(self) -> urllib3.HTTPSConnectionPool:
        return urllib3.HTTPSConnectionPool(
            self.address,
            self._port,
            ssl_context=self._current_tls,
            timeout=self._timeout,
            retries=False,
            maxsize=4,
        )

    def get(self, path: str, *, timeout: float | None = None) -> Any:
        """Return the JSON at *path*; raises NodeUnreachable or Refused."""
        return self._request("GET", path, None, timeout)

    def post(
        self, path: str, body: object = None, *, timeout: float | None = None
    ) -> Any:
        """Send *body* as JSON to *path*; raises NodeUnreachable or Refused."""
        return self._request("POST", path, body, timeout)

    def _request(
        self, method: str, path: str, body: object, timeout: float | None
    ) -> Any:
        wait = self._timeout if timeout is None else urllib3.Timeout(total=timeout)
        if (tls := self._tls.current()) is not self._current_tls:
            # Requests of other threads that are under way end in the old pool.
            self._current_tls, self._pool = tls, self._new_pool()
        try:
            answer = self._pool.request(method, path, json=body, timeout=wait)
            content = load_json(answer.data) if answer.data else None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise NodeUnreachable(
                f"the node at {self.address} does not answer: {_reason_of(error)}",
                refused=isinstance(error.__cause__, ConnectionRefusedError),
            ) from error
        if answer.status == 410:
            raise Removed(_error_text(content, answer.status))
        if answer.status == 503:
            raise NodeUnreachable(_error_text(content, answer.status))
        if answer.status != 200:
            raise Refused(_error_text(content, answer.status))
        return content

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reason_of(error: Exception) -> str:
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "the response is not JSON"
    return describe_error(error)


def _error_text(content: object, status: int) -> str:
    if isinstance(content, dict) and isinstance(content.get("err"), str):
        return str(content["err"])
    return f"the node answered with status {status}"
