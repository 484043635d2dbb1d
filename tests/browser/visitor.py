"""What a person with a browser does; program.py has it done on a test host."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.browser.walk import WIDE, Traffic, Walk

PATIENCE_MS = 60_000
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const label = at.labels && at.labels[0] ? getComputedStyle(at.labels[0]) : style;
  const name = at === document.body ? "BODY"
    : (at.getAttribute("aria-label") || at.textContent.trim() || at.name || at.id);
  return [name, style.outlineStyle !== "none" || label.outlineStyle !== "none"];
}"""
BANNERS = "#banners form.banner"
HA = "/manage/system/high-availability"


class Visitor:
    """What the person does; each method is an order."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self._page = page
        self._pictures = pictures
        self._messages: list[str] = []
        self._hosts: set[str] = set()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self._messages.append(message.text))
        page.on("request", lambda asked: self._hosts.add(urlsplit(asked.url).netloc))

    def sign_up(self, address: str, username: str, password: str) -> str:
        """Make the first administrator on the first visit."""
        self._page.goto(f"https://{address}:8443/")
        self._page.fill("input[name=username]", username)
        for field in self._page.locator("input[type=password]").all():
            field.fill(password)
        self._picture("sign-up")
        self._page.click("main button, form button")
        self._page.wait_for_selector("nav.side")
        return self._page.url

    def log_in(self, address: str, username: str, password: str) -> str:
        """Log in; gives the address of the page that follows."""
        self._page.goto(f"https://{address}:8443/")
        self._page.fill("input[name=username]", username)
        self._page.fill("input[name=password]", password)
        self._picture("log-in")
        self._page.click("form button")
        self._page.wait_for_selector("nav.side")
        return self._page.url

    def set_timeout(self, address: str, minutes: int) -> str:
        """Change the inactivity time-out under Authentication > Logon."""
        self._page.goto(f"https://{address}:8443/manage/authentication/logon")
        field = self._page.locator("input[type=number]").first
        field.fill(str(minutes))
        self._page.click("main form button")
        return self._page.locator(".banner.is-done").first.inner_text()

    def timeout(self, address: str) -> str:
        """Read the inactivity time-out."""
        self._page.goto(f"https://{address}:8443/manage/authentication/logon")
        return self._page.locator("input[type=number]").first.input_value()

    def users(self, address: str) -> list[str]:
        """Read the list of users."""
        self._page.goto(f"https://{address}:8443/manage/authentication/users")
        return self._page.locator("tbody th").all_inner_texts()

    def open_cluster(self, address: str) -> dict[str, str]:
        """Open the page of high availability."""
        self._page.goto(f"https://{address}:8443{HA}")
        return self.nodes()

    def nodes(self) -> dict[str, str]:
        """The state of each node, as the open page shows it now."""
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
        """Make a join command on the page, and give what the page then shows."""
        self._page.goto(f"https://{address}:8443{HA}")
        self._page.click("text=Make a join command")
        shown = self._page.locator("#join-command")
        shown.wait_for()
        self._picture("join-command")
        self._picture_of("ol.steps", "steps")
        return shown.inner_text()

    def source(self) -> str:
        """All of the open page's HTML."""
        return self._page.content()

    def fingerprint(self, address: str) -> str:
        """The fingerprint that the open page shows for a host that waits."""
        row = self._page.locator("[aria-label=Nodes] tbody tr", has_text=address)
        return row.locator(".mono").first.inner_text()

    def apply(self, address: str) -> str:
        """Click Apply as soon as the page allows it; gives the message."""
        self._page.goto(f"https://{address}:8443{HA}")
        button = self._page.locator("button:enabled", has_text="Apply")
        button.wait_for()
        self._picture("apply")
        self._picture_of("[aria-label=Nodes]", "waiting")
        button.click()
        return self._page.locator(".banner:visible").first.inner_text()

    def remove(self, address: str, node: str) -> str:
        """Click the X of *node* and confirm; gives the message."""
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
        """Look at every page, from the first one."""
        self._page.goto(f"https://{address}:8443/")
        return list(Walk(self._page, self._pictures).findings())

    def look(self, url: str) -> dict[str, Any]:
        """Look at one page, as somebody who never logged in."""
        assert self._page.context.browser is not None
        context = self._page.context.browser.new_context(
            ignore_https_errors=True, viewport=WIDE
        )
        page = context.new_page()
        page.goto(url)
        found = Walk(page, self._pictures).look()
        context.close()
        return found

    def first_load(self, url: str) -> int:
        """The bytes that a browser takes that has never been here."""
        assert self._page.context.browser is not None
        context = self._page.context.browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        traffic = Traffic(context.new_cdp_session(page))
        page.goto(url, wait_until="networkidle")
        context.close()
        return traffic.bytes

    def tab_through(self, url: str) -> list[tuple[str, bool]]:
        """Press Tab up to 60 times; gives what has the focus, and whether it shows."""
        self._page.goto(url)
        steps = []
        for _ in range(60):
            self._page.keyboard.press("Tab")
            steps.append(tuple(self._page.evaluate(FOCUSED)))
        return [step for step in steps if step[0] != "BODY"]

    def hosts(self) -> list[str]:
        """Every host that the pages have asked for something."""
        return sorted(self._hosts)

    def messages(self) -> list[str]:
        """What the browser's console said of our pages' own mistakes."""
        return [text for text in self._messages if "Content Security" in text]

    def _picture_of(self, part: str, name: str) -> None:
        """For the manual: a part of the page, small."""
        where = self._pictures / f"{name}.png"
        self._page.locator(part).first.screenshot(path=where)

    def _picture(self, name: str) -> None:
        self._page.screenshot(path=self._pictures / f"{name}.png", full_page=True)
