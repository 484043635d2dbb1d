"""Crawler: opens and inspects every page that the menu and the pages link to.

What is seen of a page is a finding: its address, what axe says of it, how wide it is on
a telephone. Each page has its picture taken light, dark and narrow.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import CDPSession, Error, Page

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}
MOST_PAGES = 80
TALLEST = 1600
GRAVE = {"serious", "critical"}
#: Links and forms that only show something; a table's rows lead to alike pages.
LINKS = """() => {
  const links = [...document.querySelectorAll("a[href]:not([download])")];
  const forms = [...document.querySelectorAll("main form[action]:not([method=post])")];
  const asked = (form) => {
    const url = new URL(form.action);
    for (const part of form.querySelectorAll("[name][value]"))
      url.searchParams.set(part.name, part.value);
    return [url.href, true];
  };
  return [...links.map(a => [a.href, !!a.closest("tbody")]), ...forms.map(asked)];
}"""


class Walk:
    """A crawl through the pages of a Console, from the page that is open now."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self._page = page
        self._pictures = pictures
        self._axe = Axe()
        self._seen: set[str] = set()

    def findings(self) -> Iterator[dict[str, Any]]:
        """Yield the findings of each page once."""
        waiting = [self._page.url]
        while waiting and len(self._seen) < MOST_PAGES:
            address = waiting.pop(0)
            kind = _kind(address)
            if kind in self._seen:
                continue
            self._seen.add(kind)
            if status := self._open(address):
                yield self.inspect(status)
                waiting += self._links()

    def _open(self, address: str) -> int | None:
        """Open a page and return its status; None for a file."""
        try:
            answer = self._page.goto(address)
        except Error as error:
            if "Download is starting" in str(error):
                return None
            raise
        page = answer and "text/html" in answer.headers["content-type"]
        return answer.status if answer and page else None

    def inspect(self, status: int = 200) -> dict[str, Any]:
        """Take screenshots of the open page and return its findings."""
        page, name = self._page, _name(self._page.url)
        if page.locator("#plot").count():
            page.locator("#plot svg").wait_for()
        grave = self._grave({"resultTypes": ["violations"]})
        self._picture(f"{name}-light")
        page.emulate_media(color_scheme="dark")
        grave += self._grave({"runOnly": ["color-contrast"]})
        self._picture(f"{name}-dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(NARROW)
        width = page.evaluate("document.documentElement.scrollWidth")
        self._picture(f"{name}-narrow")
        page.set_viewport_size(WIDE)
        return {"path": urlsplit(page.url).path, "status": status, "grave": grave,
                "narrow": width}  # fmt: skip

    def _grave(self, options: dict[str, Any]) -> list[str]:
        found = self._axe.run(self._page, options=options).response["violations"]
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for each in found
            if each["impact"] in GRAVE
            for node in each["nodes"]
        ]

    def _links(self) -> list[str]:
        own = urlsplit(self._page.url).netloc
        links = [
            (href, row)
            for href, row in self._page.evaluate(LINKS)
            if urlsplit(href).netloc == own and "/download" not in href
        ]
        rows = {_row_kind(href): href for href, row in links if row}
        return [href for href, row in links if not row] + list(rows.values())

    def _picture(self, name: str) -> None:
        size = self._page.evaluate(
            "[innerWidth, document.documentElement.scrollHeight]"
        )
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], TALLEST)}
        path = self._pictures / f"{name}.png"
        self._page.screenshot(path=path, full_page=True, clip=clip)


class Traffic:
    """Counts the bytes that loading a page takes from the network."""

    def __init__(self, session: CDPSession) -> None:
        self.bytes = 0
        session.on("Network.loadingFinished", self._add)
        session.send("Network.enable")

    def _add(self, event: dict[str, Any]) -> None:
        self.bytes += event["encodedDataLength"]


def _kind(address: str) -> str:
    """Return the part that the addresses of the same page have in common."""
    return urlsplit(address).path


def _row_kind(address: str) -> str:
    """Return the part that the links of all rows in a table have in common."""
    path = _kind(address)
    return path if urlsplit(address).query else path.rpartition("/")[0]


def _name(address: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", urlsplit(address).path.lower()).strip("-")
