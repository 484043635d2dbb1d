"""Rules of the preferences of a session: banners that it dismissed, light or dark."""

import gzip
from contextlib import ExitStack

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.web.web_visitor import HTTPS, Visitor
from twistlock_console.web.ui.layout import Banner, add_banners

PAGE = "/manage/logs/history"


@pytest.fixture
def pending(app: Flask) -> list[Banner]:
    """Return the banners of a plugin: a list that the test fills."""
    banners: list[Banner] = []
    add_banners(app, lambda: banners)
    return banners


def test_a_banner_is_shown_until_it_is_dismissed(
    admin: Visitor, pending: list[Banner]
) -> None:
    """One banner, on every page, and after one click on no page."""
    pending.append(Banner("takeover-2", "another node took over <now>"))
    first = admin.get(PAGE).text
    answer = admin.send("/profile/banners", form_on=PAGE, key="takeover-2")

    assert first.count("Another node took over &lt;now&gt;.") == 1
    assert answer.status_code == 303
    assert "took over" not in admin.get(PAGE).text


def test_a_new_session_has_no_banners_of_earlier_events(
    admin: Visitor, pending: list[Banner], app: Flask
) -> None:
    """A user who logs in afterwards was not interrupted."""
    pending.append(Banner("takeover-2", "another node took over"))
    later = Visitor(app.test_client())
    later.log_in()

    assert "took over" in admin.get(PAGE).text
    assert "took over" not in later.get(PAGE).text


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/profile/banners", id="now"),
        pytest.param("/profile/told", id="page-opened-before-the-upgrade"),
    ],
)
def test_an_open_page_polls_for_banners(
    admin: Visitor, pending: list[Banner], path: str
) -> None:
    """The answer is empty while the page already shows all banners."""
    quiet = admin.get(f"{path}?shown=")
    pending.append(Banner("takeover-2", "another node took over"))
    loud = admin.get(f"{path}?shown=")
    known = admin.get(f"{path}?shown=takeover-2")

    assert (quiet.status_code, known.status_code) == (204, 204)
    assert "Another node took over." in loud.text
    assert "/profile/banners" in loud.text


def test_a_browser_remembers_light_or_dark(admin: Visitor) -> None:
    """The choice is kept until the next one, and returns to the same page."""
    before = admin.get(PAGE).text
    answer = admin.client.post(
        "/profile/appearance",
        data={"appearance": "dark", "csrf_token": _token(before)},
        base_url=HTTPS,
        headers={"Referer": f"{HTTPS}{PAGE}?search=a"},
    )
    dark = admin.get(PAGE).text
    admin.send("/profile/appearance", form_on=PAGE, appearance="")

    assert answer.location == f"{PAGE}?search=a"
    assert "data-appearance" not in before
    assert '<html lang="en" data-appearance="dark">' in dark
    assert "data-appearance" not in admin.get(PAGE).text


def _token(page: str) -> str:
    return page.split('name="csrf_token" value="')[1].split('"')[0]


def test_only_known_appearances_are_taken(admin: Visitor) -> None:
    """A value other than light or dark never reaches the page."""
    answer = admin.send("/profile/appearance", form_on=PAGE, appearance='"><script>')
    admin.client.set_cookie("__Host-appearance", "x", domain="console.test")

    assert answer.status_code == 400
    assert "data-appearance" not in admin.get(PAGE).text


def test_static_files_are_compressed_and_cached(visitor: Visitor) -> None:
    """The address has a hash of the content, so a browser never requests it again."""
    page = visitor.get("/signup").text
    path = page.split('rel="stylesheet" href="')[1].split('"')[0]
    with ExitStack() as opened:

        def get(path: str, **headers: str) -> TestResponse:
            return opened.enter_context(visitor.get(path, **headers))

        compressed, plain = get(path, **{"Accept-Encoding": "gzip"}), get(path)
        stale = get(path.split("?")[0] + "?v=old")
        again = get(path, **{"If-None-Match": compressed.headers["ETag"]})

        assert compressed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(compressed.data) == plain.data
        assert plain.headers["Vary"] == compressed.headers["Vary"] == "Accept-Encoding"
        assert "immutable" in compressed.headers["Cache-Control"]
        assert "immutable" not in stale.headers["Cache-Control"]
        assert again.status_code == 304


@pytest.mark.parametrize("query", ["", "?v=1"])
def test_no_other_file_is_read(visitor: Visitor, query: str) -> None:
    """Such a file is not even opened: it may be larger than the memory."""
    unreadable = "../" * 12 + "proc/self/mem"

    assert visitor.get(f"/static/{unreadable}{query}").status_code == 404


def test_pages_are_not_compressed(admin: Visitor) -> None:
    """The length of a compressed page would reveal the secrets in it."""
    answer = admin.get(PAGE, **{"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in answer.headers
