"""A person and a program at the Console of one node, over real HTTPS."""

import json
import re
from typing import Any

import urllib3

from tests.cluster.alone_node import AloneNode
from tests.hosts.console_api import USERNAME, credentials
from twistlock_console.pki.tls import client_context

CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class ConsoleVisitor:
    """Signs up at *node*; has a cookie for pages and the password for the API."""

    def __init__(self, node: AloneNode) -> None:
        settings = node.settings
        self._pool = urllib3.HTTPSConnectionPool(
            settings.node_address,
            settings.management_port_https,
            ssl_context=client_context(settings.folders.certificates),
            timeout=10,
            retries=False,
        )
        self._base = f"https://{settings.node_address}:{settings.management_port_https}"
        self._cookies: dict[str, str] = {}
        self._basic = urllib3.make_headers(
            basic_auth=f"{USERNAME}:{credentials()['password']}"
        )
        self.call("POST", "/signup", credentials())

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that the API answers; raises ConnectionError unless it is 200."""
        answer = self._pool.request(
            method, f"/api/v1{path}", json=body, headers=self._basic
        )
        text = answer.data.decode()
        if answer.status != 200:
            raise ConnectionError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None

    def log_in(self) -> None:
        """Log in on the page."""
        found = CSRF.search(self.page("/login"))
        assert found is not None
        fields = {**credentials(), "csrf_token": found[1]}
        self._ask("POST", "/login", fields=fields, encode_multipart=False)

    def page(self, path: str) -> str:
        """The text of the page at *path*."""
        return str(self._ask("GET", path).data.decode())

    def _ask(self, method: str, path: str, **how: Any) -> urllib3.BaseHTTPResponse:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": cookie, "Referer": f"{self._base}{path}"}
        answer = self._pool.request(
            method, path, headers=headers, redirect=False, **how
        )
        for line in answer.headers.getlist("Set-Cookie"):
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        return answer
