"""The left navigation and the tabs, as the rooms and the plugins add them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, request

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


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab and the endpoint behind it."""

    label: str
    endpoint: str

    @property
    def blueprint(self) -> str:
        """The name of the blueprint that serves the tab."""
        return self.endpoint.rpartition(".")[0]


@dataclass(slots=True)
class Page:
    """A page of the navigation; it exists while it has tabs."""

    section: str
    label: str
    tabs: list[Tab] = field(default_factory=list)

    def current_tab(self) -> Tab | None:
        """Give the tab that this request is on."""
        exact = [t for t in self.tabs if t.endpoint == request.endpoint]
        near = [t for t in self.tabs if t.blueprint == request.blueprint]
        return next(iter(exact + near), None)


def _place(page: Page) -> int:
    """Return where *page* stands: pages of plugins after those of the core."""
    return PAGES.index(page.label) if page.label in PAGES else len(PAGES)


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
            self._pages.sort(key=_place)
        found.tabs.append(Tab(label, endpoint))

    def seen_by(self, allowed: Callable[[str], bool]) -> list[Page]:
        """Give the pages with the tabs whose blueprint is *allowed*."""
        pages = [
            Page(p.section, p.label, [t for t in p.tabs if allowed(t.blueprint)])
            for p in self._pages
        ]
        return [page for page in pages if page.tabs]


def menu_of(app: Flask) -> Menu:
    """Give the application's one Menu."""
    return cast(Menu, app.extensions.setdefault("menu", Menu()))


def add_tab(app: Flask, page: str, label: str, endpoint: str) -> None:
    """Add a tab to a page, written as "Manage / System"."""
    section, name = page.split(" / ")
    menu_of(app).add(section, name, label, endpoint)


def add_system_tab(app: Flask, label: str, endpoint: str) -> None:
    """Add a tab under Manage > System."""
    add_tab(app, "Manage / System", label, endpoint)
