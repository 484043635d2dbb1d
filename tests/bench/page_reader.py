"""Somebody who reads pages while the benchmark runs."""

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress

from tests.bench.defender_stage import Stage

PASSWORD = "Correct-horse-9-battery"


class Reader:
    """An administrator who looks at the Defenders ten times a second."""

    def __init__(self, made: Stage) -> None:
        self._base = f"https://127.0.0.1:{made.settings.management_port_https}/api/v1"
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._ended = threading.Event()
        self._waits: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Sign up and begin."""
        body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
        self._ask("/signup", body)
        self._ask("/defenders")
        self._thread.start()

    def stop(self) -> list[float]:
        """Give the seconds that each look took."""
        self._ended.set()
        self._thread.join(30)
        return self._waits

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            began = time.monotonic()
            # While no node serves the port refuses: that is another row's business.
            with suppress(urllib.error.URLError):
                self._ask("/defenders?limit=50")
                self._waits.append(time.monotonic() - began)

    def _ask(self, path: str, body: bytes | None = None) -> None:
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        if body:
            headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self._base + path, body, headers)  # noqa: S310
        urllib.request.urlopen(asked, context=self._tls, timeout=30).read()  # noqa: S310
