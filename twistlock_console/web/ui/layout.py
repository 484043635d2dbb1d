"""The layout around every page: navigation, tabs, banners and appearance.

Pages and plugins add tabs and banners; the layout knows none of them by name. A session
shows no banners of events before it started, nor banners that its user dismissed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app, g, request, session

from twistlock_console.pki.identity_files import expiry_warnings
from twistlock_console.web.security.guards import may_change, may_see

#: The order of the navigation, with the icon of each section.
SECTIONS = {"Defend": "shield", "Monitor": "chart", "Manage": "gear"}
PAGES = (
    "Runtime",
    "Events",
    "Compliance",
    "Defenders",
    "View Logs",
    "Alerts",
    "Authentication",
    "System",
)
APPEARANCE_COOKIE = "__Host-appearance"
APPEARANCES = ("", "light", "dark")
#: Where the session cookie has the dismissed banners; the earlier release reads it too.
DISMISSED_COOKIE_KEY = "told"
MAX_DISMISSED = 8


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab and the endpoint behind it."""

    label: str
    endpoint: str

    @property
    def blueprint(self) -> str:
        """Return the name of the blueprint that serves the tab."""
        return self.endpoint.rpartition(".")[0]


@dataclass(slots=True)
class Page:
    """A page of the navigation; it is shown while it has tabs."""

    section: str
    label: str
    tabs: list[Tab] = field(default_factory=list)

    def current_tab(self) -> Tab | None:
        """Return the tab that this request belongs to; None if no tab does."""
        exact = [t for t in self.tabs if t.endpoint == request.endpoint]
        same_blueprint = [t for t in self.tabs if t.blueprint == request.blueprint]
        return next(iter(exact + same_blueprint), None)


@dataclass(frozen=True, slots=True)
class Banner:
    """One sentence above the pages; *key* identifies the event that it reports."""

    key: str
    sentence: str


BannerSource = Callable[[], Iterable[Banner]]


def init_app(app: Flask) -> None:
    """Make the layout available to templates."""
    app.context_processor(_layout)
    app.jinja_env.globals["appearance"] = appearance


def _layout() -> dict[str, object]:
    # Without an account that a guard admitted there is no layout and no database
    # access: error pages are rendered this way too.
    if "account" not in g:
        return {}
    pages = _visible_pages()
    page = next((p for p in pages if p.current_tab()), None)
    return {
        "sections": [
            (name, icon, [p for p in pages if p.section == name])
            for name, icon in SECTIONS.items()
            if any(p.section == name for p in pages)
        ],
        "page": page,
        "tab": page.current_tab() if page else None,
        "account": g.account,
        "may_change": may_change(request.blueprint or ""),
        "banners": pending_banners(),
        "expiry_warnings": expiry_warnings(
            current_app.extensions["settings"].folders.certificates
        ),
    }


def appearance() -> str:
    """Return the choice of this browser: "light", "dark", or "" for its default."""
    chosen = request.cookies.get(APPEARANCE_COOKIE, "")
    return chosen if chosen in APPEARANCES else ""


def first_visible_endpoint() -> str:
    """Return the endpoint of the first page that the present user may see."""
    pages = _visible_pages()
    return pages[0].tabs[0].endpoint if pages else "profile.password"


class Menu:
    """All pages, in the order of PAGES; tabs in the order they were added."""

    def __init__(self) -> None:
        self._pages: list[Page] = []

    def add(self, section: str, page: str, label: str, endpoint: str) -> None:
        """Add a tab, and its page if that is new."""
        found = next((p for p in self._pages if p.label == page), None)
        if found is None:
            found = Page(section, page)
            self._pages.append(found)
            self._pages.sort(key=_sort_position)
        found.tabs.append(Tab(label, endpoint))

    def visible_pages(self, allowed: Callable[[str], bool]) -> list[Page]:
        """Return the pages with the tabs whose blueprint is *allowed*."""
        pages = [
            Page(p.section, p.label, [t for t in p.tabs if allowed(t.blueprint)])
            for p in self._pages
        ]
        return [page for page in pages if page.tabs]


def menu_of(app: Flask) -> Menu:
    """Return the application's one Menu."""
    return cast(Menu, app.extensions.setdefault("menu", Menu()))


def add_tab(app: Flask, page: str, label: str, endpoint: str) -> None:
    """Add a tab to a page, written as "Manage / System"."""
    section, name = page.split(" / ")
    menu_of(app).add(section, name, label, endpoint)


def add_system_tab(app: Flask, label: str, endpoint: str) -> None:
    """Add a tab under Manage > System."""
    add_tab(app, "Manage / System", label, endpoint)


def add_banners(app: Flask, source: BannerSource) -> None:
    """Add a source of banners. Each page calls it: it must be fast and not raise."""
    _banner_sources(app).append(source)


def pending_banners() -> list[Banner]:
    """Return the banners that this session has not dismissed."""
    dismissed = session.get(DISMISSED_COOKIE_KEY, ())
    return [banner for banner in _all_banners() if banner.key not in dismissed]


def dismiss_banners(*keys: str) -> None:
    """Hide the banners with *keys* from this session from now on."""
    dismissed = [*session.get(DISMISSED_COOKIE_KEY, ()), *keys]
    session[DISMISSED_COOKIE_KEY] = dismissed[-MAX_DISMISSED:]


def dismiss_all_banners() -> None:
    """Dismiss the banners of events before the session that starts now."""
    dismiss_banners(*(banner.key for banner in _all_banners()))


def _all_banners() -> list[Banner]:
    return [banner for source in _banner_sources(current_app) for banner in source()]


def _banner_sources(app: Flask) -> list[BannerSource]:
    return cast(list[BannerSource], app.extensions.setdefault("banners", []))


def _visible_pages() -> list[Page]:
    return menu_of(current_app).visible_pages(may_see)


def _sort_position(page: Page) -> int:
    """Return the sort key of *page*: pages of plugins follow those of the core."""
    return PAGES.index(page.label) if page.label in PAGES else len(PAGES)
