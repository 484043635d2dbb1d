"""Actions of a user with a browser; program.py runs them on a test host."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.browser.walk import WIDE, Traffic, Walk

PAGE_TIMEOUT_MS = 60_000
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const label = at.labels && at.labels[0] ? getComputedStyle(at.labels[0]) : style;
  const name = at === document.body ? "BODY"
    : (at.getAttribute("aria-label") || at.textContent.trim() || at.name || at.id);
  return [name, style.outlineStyle !== "none" || label.outlineStyle !== "none"];
}"""
BANNERS = "#banners form.banner"
HA = "/manage/system/high-availability"


class BrowserUser:
    """A user with a browser; each method is a command of program.py."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self._page = page
        self._pictures = pictures
        self._messages: list[str] = []
        self._hosts: set[str] = set()
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        page.on("console", lambda message: self._messages.append(message.text))
        page.on("request", lambda asked: self._hosts.add(urlsplit(asked.url).netloc))

    def sign_up(self, address: str, username: str, password: str) -> str:
        """Create the first administrator and return the address of the next page."""
        self._page.goto(f"https://{address}:8443/")
        self._page.fill("input[name=username]", username)
        for field in self._page.locator("input[type=password]").all():
            field.fill(password)
        self._picture("sign-up")
        self._page.click("main button, form button")
        self._page.wait_for_selector("nav.side")
        return self._page.url

    def log_in(self, address: str, username: str, password: str) -> str:
        """Log in and return the address of the next page."""
        self._page.goto(f"https://{address}:8443/")
        self._page.fill("input[name=username]", username)
        self._page.fill("input[name=password]", password)
        self._picture("log-in")
        self._page.click("form button")
        self._page.wait_for_selector("nav.side")
        return self._page.url

    def set_timeout(self, address: str, minutes: int) -> str:
        """Change the inactivity timeout under Authentication > Logon."""
        self._page.goto(f"https://{address}:8443/manage/authentication/logon")
        field = self._page.locator("input[type=number]").first
        field.fill(str(minutes))
        self._page.click("main form button")
        return self._page.locator(".banner.is-done").first.inner_text()

    def timeout(self, address: str) -> str:
        """Return the inactivity timeout."""
        self._page.goto(f"https://{address}:8443/manage/authentication/logon")
        return self._page.locator("input[type=number]").first.input_value()

    def users(self, address: str) -> list[str]:
        """Return the list of users."""
        self._page.goto(f"https://{address}:8443/manage/authentication/users")
        return self._page.locator("tbody th").all_inner_texts()

    def open_cluster(self, address: str) -> dict[str, str]:
        """Open the page of high availability."""
        self._page.goto(f"https://{address}:8443{HA}")
        return self.nodes()

    def nodes(self) -> dict[str, str]:
        """Return the state of each node on the open page."""
        rows = self._page.locator("[aria-label=Nodes] tbody tr").all()
        return {
            row.locator("th").inner_text().split()[0]: row.locator(".pill").inner_text()
            for row in rows
        }

    def wait_for_state(self, address: str, state: str) -> dict[str, str]:
        """Wait, without reloading, until the open page shows *address* in *state*."""
        row = self._page.locator("[aria-label=Nodes] tbody tr", has_text=address)
        row.locator(".pill", has_text=state).first.wait_for()
        self._picture(f"state-{state.lower()}")
        return self.nodes()

    def join_command(self, address: str) -> str:
        """Create a join command on the page and return it."""
        self._page.goto(f"https://{address}:8443{HA}")
        self._page.click("text=Make a join command")
        shown = self._page.locator("#join-command")
        shown.wait_for()
        self._picture("join-command")
        self._picture_of("ol.steps", "steps")
        return shown.inner_text()

    def source(self) -> str:
        """Return the HTML of the open page."""
        return self._page.content()

    def fingerprint(self, address: str) -> str:
        """Return the fingerprint of a waiting host on the open page."""
        row = self._page.locator("[aria-label=Nodes] tbody tr", has_text=address)
        return row.locator(".mono").first.inner_text()

    def apply(self, address: str) -> str:
        """Click Apply when the page allows it, and return the message."""
        self._page.goto(f"https://{address}:8443{HA}")
        button = self._page.locator("button:enabled", has_text="Apply")
        button.wait_for()
        self._picture("apply")
        self._picture_of("[aria-label=Nodes]", "waiting")
        button.click()
        return self._page.locator(".banner:visible").first.inner_text()

    def remove(self, address: str, node: str) -> str:
        """Click the X of *node*, confirm, and return the message."""
        self._page.goto(f"https://{address}:8443{HA}")
        self._page.click(f"[aria-label='Remove {node}']")
        self._picture("remove")
        self._picture_of("main", "removing")
        self._page.click("main .button.is-danger")
        return self._page.locator(".banner:visible").first.inner_text()

    def wait_for_silence(self) -> str:
        """Wait until the open page says that the Console does not answer."""
        banner = self._page.locator("#connection")
        banner.wait_for(state="visible")
        self._picture("silence")
        return banner.inner_text()

    def wait_for_banner(self) -> str:
        """Wait until the open page shows a banner by itself; return its text."""
        self._page.locator(BANNERS).first.wait_for()
        self._picture("takeover")
        return self.banners()[0]

    def banners(self) -> list[str]:
        """Return the banners that the open page shows."""
        return self._page.locator(f"{BANNERS} span").all_inner_texts()

    def dismiss_banner(self) -> list[str]:
        """Dismiss a banner; return those that are left."""
        self._page.click(f"{BANNERS} button")
        self._page.locator(BANNERS).first.wait_for(state="detached")
        return self.banners()

    def walk(self, address: str) -> list[dict[str, Any]]:
        """Inspect every page, from the first one, and return the findings."""
        self._page.goto(f"https://{address}:8443/")
        return list(Walk(self._page, self._pictures).findings())

    def inspect(self, url: str) -> dict[str, Any]:
        """Inspect one page in a new browser without login."""
        assert self._page.context.browser is not None
        context = self._page.context.browser.new_context(
            ignore_https_errors=True, viewport=WIDE
        )
        page = context.new_page()
        page.goto(url)
        found = Walk(page, self._pictures).inspect()
        context.close()
        return found

    def first_load(self, url: str) -> int:
        """Return the bytes that a browser with an empty cache loads."""
        assert self._page.context.browser is not None
        context = self._page.context.browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        traffic = Traffic(context.new_cdp_session(page))
        page.goto(url, wait_until="networkidle")
        context.close()
        return traffic.bytes

    def tab_through(self, url: str) -> list[tuple[str, bool]]:
        """Press Tab up to 60 times; return each focused element and its visibility."""
        self._page.goto(url)
        steps = []
        for _ in range(60):
            self._page.keyboard.press("Tab")
            steps.append(tuple(self._page.evaluate(FOCUSED)))
        return [step for step in steps if step[0] != "BODY"]

    def hosts(self) -> list[str]:
        """Return every host to which the pages sent a request."""
        return sorted(self._hosts)

    def messages(self) -> list[str]:
        """Return the messages of the browser's console about the content policy."""
        return [text for text in self._messages if "Content Security" in text]

    def _picture_of(self, part: str, name: str) -> None:
        """Take a small screenshot of a part of the page, for the manual."""
        where = self._pictures / f"{name}.png"
        self._page.locator(part).first.screenshot(path=where)

    def _picture(self, name: str) -> None:
        self._page.screenshot(path=self._pictures / f"{name}.png", full_page=True)
