"""Backups over the REST API and on the page, of a node that runs."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests.backups.alone_node import BackupsOfNode, serving
from tests.hosts.waiting import wait_for
from twistlock_console.pki.tls import client_context

PASSWORD = "Password-of-tests-1"
PAGE = "/manage/system/backups"


class Browser:
    """A person at a browser, or with *basic* a program at the API."""

    def __init__(self, node: BackupsOfNode) -> None:
        settings = node.settings
        self._pool = urllib3.HTTPSConnectionPool(
            settings.node_address,
            settings.management_port_https,
            ssl_context=client_context(settings.folders.certificates),
            retries=False,
            timeout=120,
        )
        self._base = f"https://{settings.node_address}:{settings.management_port_https}"
        self._cookies: dict[str, str] = {}
        self._basic = urllib3.make_headers(basic_auth=f"admin:{PASSWORD}")

    def call(self, method: str, path: str, body: bytes | object = None) -> Any:
        """Call the API; its answer."""
        sent = body if isinstance(body, bytes) else None
        if body is not None and sent is None:
            headers = {**self._basic, "content-type": "application/json"}
            sent = json.dumps(body).encode()
        else:
            headers = {**self._basic, "content-type": "application/gzip"}
        path = f"/api/v1{path}"
        return self._pool.request(method, path, body=sent, headers=headers)

    def open(self, path: str) -> Any:
        """Open a page."""
        return self._visit("GET", path)

    def send(self, path: str, on: str, **fields: Any) -> Any:
        """Fill in the form on a page and send it."""
        page = self.open(on).data.decode()
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        fields["csrf_token"] = token[1] if token else ""
        return self._visit("POST", path, fields=fields)

    def _visit(self, method: str, path: str, **options: Any) -> Any:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": cookies, "Referer": self._base + path}
        answer = self._pool.request(
            method, path, headers=headers, redirect=False, **options
        )
        for cookie in answer.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[BackupsOfNode]:
    """One node that serves; killed at the end."""
    with serving(request, "pages", "127.0.0.84") as node:
        yield node


@pytest.fixture(scope="module")
def browser(node: BackupsOfNode) -> Browser:
    """An administrator, who has just signed up."""
    visitor = Browser(node)
    signed = {"username": "admin", "password": PASSWORD, "repeated": PASSWORD}
    assert visitor.send("/signup", "/signup", **signed).status == 303
    return visitor


def idle(node: BackupsOfNode) -> None:
    wait_for(lambda: node.ask("/v1/backups")["work"] is None, 60, "idle", every=0.1)


def made(node: BackupsOfNode, browser: Browser, name: str) -> str:
    """Make a backup over the API, as the product's manual says."""
    idle(node)
    answer = browser.call("POST", "/backups", name)
    assert (answer.status, answer.data) == (200, b"")
    idle(node)
    found = json.loads(browser.call("GET", "/backups").data)
    return str(next(each["id"] for each in found if each["name"] == name))


def test_the_api_lists_downloads_and_deletes(
    node: BackupsOfNode, browser: Browser
) -> None:
    """Shapes are the product's; a download is the file, byte for byte."""
    file = made(node, browser, "by-api")

    listed = json.loads(browser.call("GET", "/backups").data)
    got = browser.call("GET", f"/backups/{file}")
    renamed = browser.call("PATCH", f"/backups/{file}", "other")
    gone = browser.call("GET", f"/backups/{file}")
    deleted = browser.call("DELETE", f"/backups/{file.replace('by-api', 'other')}")

    spec = next(each for each in listed if each["id"] == file)
    assert {"id", "name", "release", "time"} <= set(spec)
    assert got.headers["Content-Type"] == "application/gzip"
    assert int(got.headers["Content-Length"]) == len(got.data) == spec["size"]
    assert (renamed.status, renamed.data, deleted.status) == (200, b"", 200)
    assert gone.status == 404
    assert json.loads(gone.data)["err"].startswith("there is no backup")


def test_an_upload_is_verified_first(node: BackupsOfNode, browser: Browser) -> None:
    """A good one is listed, a damaged one is told, and neither leaves a rest."""
    file = made(node, browser, "moved")
    content = browser.call("GET", f"/backups/{file}").data
    browser.call("DELETE", f"/backups/{file}")

    cut = browser.call("POST", f"/backups/{file}", content[:-200])
    wrong = browser.call("POST", "/backups/../../etc/passwd", content)
    good = browser.call("POST", f"/backups/{file}", content)
    again = browser.call("POST", f"/backups/{file}", content)

    assert (cut.status, good.status, again.status) == (400, 200, 400), good.data
    assert wrong.status in (400, 404, 405)
    assert file in [each["id"] for each in node.listed()]
    idle(node)
    assert list((node.settings.data_folder / "backup-work").iterdir()) == []


def test_an_upload_is_judged_by_its_content(
    node: BackupsOfNode, browser: Browser
) -> None:
    """What a browser made of the name of a file that it downloaded twice is no bar."""
    file = made(node, browser, "twice")
    content = browser.call("GET", f"/backups/{file}").data
    browser.call("DELETE", f"/backups/{file}")
    altered = file.replace(".tar.gz", " (1).tar.gz")

    other = browser.call("POST", "/backups/twice-1.0-5.tar.gz", content)
    by_api = node.listed()
    again = browser.call("POST", "/backups/other.tgz", content)
    browser.call("DELETE", f"/backups/{file}")
    no_backup = browser.call("POST", f"/backups/{file}", b"no backup")
    browser.send(f"{PAGE}/upload", PAGE, file=(altered, content, "application/gzip"))
    page = browser.open(PAGE).data.decode()

    assert (other.status, other.data) == (200, b"")
    assert file in [each["id"] for each in by_api]
    assert json.loads(again.data)["err"] == f"there is a backup {file} already"
    assert no_backup.status == 400
    assert json.loads(no_backup.data)["err"].startswith(f"{file} ")
    assert f"The backup was uploaded and is stored as {file}." in page
    assert file in [each["id"] for each in node.listed()]
    idle(node)
    assert list((node.settings.data_folder / "backup-work").iterdir()) == []


@pytest.mark.parametrize("body", ["", "../x", "daily", {"name": 5}, ["x"], "a b"])
def test_a_bad_name_is_refused(browser: Browser, body: object) -> None:
    """In one sentence, and nothing is begun."""
    answer = browser.call("POST", "/backups", body)

    assert answer.status == 400
    assert json.loads(answer.data)["err"]


def test_the_page_shows_and_does_it_all(node: BackupsOfNode, browser: Browser) -> None:
    """Created from the form, shown with its progress, exported, uploaded, restored."""
    idle(node)
    sent = {"name": "by-page", "passphrase": "correct horse battery"}
    assert browser.send(f"{PAGE}/create", PAGE, **sent).status == 303
    assert "Backup of by-page" in browser.open(f"{PAGE}/live").data.decode()
    idle(node)
    (file,) = [e["id"] for e in node.listed() if e["name"] == "by-page"]
    page = browser.open(PAGE).data.decode()
    assert "System backups" in page
    assert "Manual backups" in page
    assert f"{PAGE}/download?id={file}" in page

    content = browser.open(f"{PAGE}/download?id={file}").data
    one = f"{PAGE}/one?id={file}"
    assert browser.send(f"{PAGE}/delete", one, id=file).status == 303
    upload = (file, content, "application/gzip")
    assert browser.send(f"{PAGE}/upload", PAGE, file=upload).status == 303
    assert file in [each["id"] for each in node.listed()]
    assert browser.send(f"{PAGE}/restore", one, id=file).status == 303
    wait_for(lambda: is_logged_out(browser), 30, "everybody is logged out", every=0.2)


def is_logged_out(browser: Browser) -> bool:
    """Whether the page asks to log in; while it is switched over nobody answers."""
    try:
        return bool(browser.open(PAGE).status == 303)
    except urllib3.exceptions.HTTPError:
        return False


def test_a_stranger_uploads_nothing(browser: Browser, node: BackupsOfNode) -> None:
    """Neither a page nor the API keeps what nobody who is logged in has sent."""
    wait_for(node.serves, 30, "it serves again")
    stranger = Browser(node)
    stranger._basic = {}

    page = stranger.send(f"{PAGE}/upload", "/login", file=("x", bytes(500_000)))
    other = Browser(node)
    other._basic = {}
    call = other.call("POST", "/backups/x-1.0-5.tar.gz", b"x")

    assert page.status == 413
    assert call.status == 401
