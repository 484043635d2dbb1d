"""What the frame around every page needs to know."""

from typing import Any

from flask import Flask, current_app, g, request

from twistlock_console.pki.expiry import endings
from twistlock_console.web.security.pages import may_change, may_see
from twistlock_console.web.ui.banners import untold
from twistlock_console.web.ui.menu import SECTIONS, Page, menu_of

APPEARANCE = "__Host-appearance"
APPEARANCES = ("", "light", "dark")


def init_app(app: Flask) -> None:
    """Offer the navigation to the templates."""
    app.context_processor(_frame)
    app.jinja_env.globals["appearance"] = appearance


def appearance() -> str:
    """Give what this browser has chosen: "light", "dark", or "" for its own wish."""
    chosen = request.cookies.get(APPEARANCE, "")
    return chosen if chosen in APPEARANCES else ""


def first_endpoint() -> str:
    """Give the endpoint of the first page that the present user may see."""
    pages = _pages()
    return pages[0].tabs[0].endpoint if pages else "profile.password"


def _pages() -> list[Page]:
    return menu_of(current_app).seen_by(may_see)


def _frame() -> dict[str, Any]:
    # Before a guard has admitted anyone there is no frame, and no question to the
    # database: error pages are rendered this way too.
    if "account" not in g:
        return {}
    pages = _pages()
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
        "banners": untold(),
        "endings": endings(current_app.extensions["settings"].folders.certificates),
    }
