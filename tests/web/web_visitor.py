"""A test client like a browser: it opens pages and sends forms with their tokens."""

import base64
import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

HTTPS = "https://console.test"
USERNAME = "admin"
PASSWORD = "correct horse battery"


class Visitor:
    """One browser, with its cookies."""

    def __init__(self, client: FlaskClient, address: str = "192.0.2.7") -> None:
        self.client = client
        self.address = address

    def get(self, path: str, **headers: str) -> TestResponse:
        """Open a page, or call the API."""
        return self.client.get(
            path, base_url=HTTPS, headers=headers, environ_base=self._from()
        )

    def send(
        self, path: str, form_on: str | None = None, **fields: str
    ) -> TestResponse:
        """Fill in the form on a page and send it."""
        page = self.get(form_on or path).get_data(as_text=True)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        token = {"csrf_token": found[1]} if found else {}
        return self.client.post(
            path,
            data={**fields, **token},
            base_url=HTTPS,
            headers={"Referer": HTTPS + path},
            environ_base=self._from(),
        )

    def call(self, path: str, body: object, **headers: str) -> TestResponse:
        """Post JSON to the API."""
        return self.client.post(
            path, json=body, base_url=HTTPS, headers=headers, environ_base=self._from()
        )

    def sign_up(self) -> TestResponse:
        """Create the first administrator."""
        return self.send(
            "/signup", username=USERNAME, password=PASSWORD, repeated=PASSWORD
        )

    def log_in(
        self, username: str = USERNAME, password: str = PASSWORD
    ) -> TestResponse:
        """Send the login form."""
        return self.send("/login", username=username, password=password)

    def token(self) -> str:
        """Get an API token."""
        sent = {"username": USERNAME, "password": PASSWORD}
        token: str = self.call("/api/v1/authenticate", sent).get_json()["token"]
        return token

    def _from(self) -> dict[str, str]:
        return {"REMOTE_ADDR": self.address}


def basic(username: str = USERNAME, password: str = PASSWORD) -> str:
    """Write the header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
