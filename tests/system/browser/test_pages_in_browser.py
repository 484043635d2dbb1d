"""Rules of pages in a browser: accessible, small, and loaded only from the Console.

The pictures in build/pictures are there to be looked at.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.remote_visitor import RemoteVisitor, visitor_on
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import HostedNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.needs("chromium", "ip", "nsenter", "unshare", root=True),
]
PICTURES = Path("build/pictures/pages")
FILLED = ("--history", "60", "--defenders", "40", "--events", "200")


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[HostedNode]:
    """Return a single node with high availability and an entry in every list."""
    with server_folder(request, "pages") as folder, Laboratory(folder) as laboratory:
        client = laboratory.host("client")
        made = HostedNode(
            laboratory.host("h1"), client, HIGH_AVAILABILITY_STATE="PRIMARY"
        )
        made.start()
        wait_for(lambda: made.try_ask("/v1/status").get("serving"), 60, "the node")
        config = made.host.folder / "twistlock.cfg"
        fill = (sys.executable, "-m", "tests.filling", str(config), *FILLED)
        assert made.host.start(*fill).wait(60) == 0
        yield made


@pytest.fixture(scope="module")
def visitor(node: HostedNode) -> Iterator[RemoteVisitor]:
    """Return a browser on another host."""
    with visitor_on(node._asker, PICTURES) as person:
        yield person


@pytest.fixture(scope="module")
def findings(visitor: RemoteVisitor, node: HostedNode) -> list[dict[str, Any]]:
    """Return the findings of each page."""
    url = f"https://{node.address}:8443"
    outside = [visitor("inspect", f"{url}/signup")]
    visitor("sign_up", node.address, USERNAME, PASSWORD)
    outside += [visitor("inspect", f"{url}/{path}") for path in ("login", "nowhere")]
    return outside + list(visitor("walk", node.address))


def test_every_page_is_there(findings: list[dict[str, Any]]) -> None:
    """Every page that the menu and the pages link to can be opened."""
    paths = {found["path"] for found in findings}

    assert {f["path"]: f["status"] for f in findings if f["status"] != 200} == {}
    assert {
        "/login",
        "/manage/logs/history",
        "/manage/authentication/users",
        "/manage/system/general",
        "/manage/system/high-availability",
        "/profile/password",
    } <= paths


def test_every_page_is_accessible(findings: list[dict[str, Any]]) -> None:
    """axe finds no serious or critical problem on any page, light or dark."""
    assert {f["path"]: f["grave"] for f in findings if f["grave"]} == {}


def test_a_page_fits_a_telephone(findings: list[dict[str, Any]]) -> None:
    """No page is wider than 360 pixels; a wider element scrolls by itself."""
    assert {f["path"]: f["narrow"] for f in findings if f["narrow"] > 360} == {}


def test_nothing_comes_from_elsewhere(
    findings: list[dict[str, Any]], visitor: RemoteVisitor, node: HostedNode
) -> None:
    """Pages send requests only to their own Console, and obey its policy."""
    assert findings
    assert visitor("hosts") == [f"{node.address}:8443"]
    assert visitor("messages") == []


def test_a_first_load_is_small(
    findings: list[dict[str, Any]], visitor: RemoteVisitor, node: HostedNode
) -> None:
    """A browser with an empty cache loads less than 100 KB for the first page."""
    assert findings
    assert visitor("first_load", f"https://{node.address}:8443/") < 100_000


def test_a_keyboard_reaches_everything(
    findings: list[dict[str, Any]], visitor: RemoteVisitor, node: HostedNode
) -> None:
    """Tab moves first to the skip link, then through the menu; focus is visible."""
    assert findings
    steps = visitor("tab_through", f"https://{node.address}:8443/manage/logs/history")

    assert steps[0] == ["Skip to the content", True]
    names = [name for name, _ in steps]
    assert {"View Logs", "Authentication", "System", "History"} <= set(names)
    assert [name for name, outlined in steps if not outlined] == []
