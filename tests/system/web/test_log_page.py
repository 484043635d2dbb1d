"""Rules of the log on the web: latest lines, request ids, and no secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.web.web_visitor import PASSWORD, Visitor, basic
from twistlock_console.logs.setup import LOG_CONTEXT, JsonLines, log_file
from twistlock_console.settings import Settings


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Return the log of a test, from DEBUG up, in the format of a node."""
    root, kept = logging.getLogger(), io.StringIO()
    handler, level = logging.StreamHandler(kept), root.level
    handler.setFormatter(JsonLines())
    handler.addFilter(LOG_CONTEXT)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    # Its own wire log is off in a node, whatever the level.
    logging.getLogger("pymongo").setLevel(logging.ERROR)
    yield kept
    root.removeHandler(handler)
    root.setLevel(level)


def test_the_page_and_the_api_show_the_latest_lines(
    admin: Visitor, running: Settings
) -> None:
    """They show as many as requested; text of a stranger does not become markup."""
    lines = [
        {"time": "T", "level": "INFO", "logger": "a", "message": f"<b>{n}</b>"}
        for n in range(5)
    ]
    log_file(running.folders).write_text("".join(json.dumps(x) + "\n" for x in lines))

    text = admin.get("/api/v1/logs/console?lines=2", Authorization=basic()).get_json()
    page = admin.get("/manage/logs/console?lines=1").get_data(as_text=True)

    assert [line["log"] for line in text] == ["a: <b>3</b>", "a: <b>4</b>"]
    assert "a: &lt;b&gt;4&lt;/b&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize("lines", ["0", "x", "-1", "1.5", "000"])
def test_a_bad_number_of_lines_is_refused(admin: Visitor, lines: str) -> None:
    """The sentence says which numbers are valid."""
    answer = admin.get(f"/api/v1/logs/console?lines={lines}", Authorization=basic())

    assert answer.status_code == 400
    assert (
        answer.get_json()["err"]
        == "lines: give a whole number from 1; at most 2000 are returned"
    )


@pytest.mark.parametrize("lines", ["2001", "32768", "9" * 200])
def test_asking_for_more_lines_than_there_are_gives_all(
    admin: Visitor, running: Settings, lines: str
) -> None:
    """A client cannot know the maximum: page and API return all there is."""
    log_file(running.folders).write_text("".join(f"line {n}\n" for n in range(2500)))

    api = admin.get(f"/api/v1/logs/console?lines={lines}", Authorization=basic())
    page = admin.get(f"/manage/logs/console?lines={lines}")

    text = [line["log"] for line in api.get_json()]
    assert text == [f"line {n}" for n in range(500, 2500)]
    assert page.status_code == 200
    assert 'value="2000"' in page.text


def test_every_answer_names_its_request(blind: Flask, logged: io.StringIO) -> None:
    """The id is in the header, on the error page, and in the lines of the log."""
    page = Visitor(blind.test_client()).get("/login")
    name = page.headers["X-Request-Id"]

    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert page.status_code == 503
    assert name in page.get_data(as_text=True)
    assert name in [line.get("request") for line in lines]


def test_a_line_names_the_user(admin: Visitor, app: Flask, logged: io.StringIO) -> None:
    """Failures of a user can be found by the username."""
    app.view_functions["api_version.version"] = _fail

    answer = admin.get("/api/v1/version", Authorization=basic())

    line = next(x for x in logged.getvalue().splitlines() if "version failed" in x)
    assert answer.status_code == 500
    assert json.loads(line)["user"] == "admin"


def _fail() -> str:
    raise RuntimeError("on purpose")


PLANTED = "PLANTED-Secret-7391!"


def test_no_secret_is_ever_logged(admin: Visitor, logged: io.StringIO) -> None:
    """This holds for each field, header and cookie, and for failed requests."""
    for path in ("/login", "/signup", "/profile/password"):
        fields = ("password", "repeated", "old", "new", "next", "minutes", "csrf_token")
        admin.send(path, **dict.fromkeys(fields, PLANTED), username="admin")
    body = {"username": "admin", "password": PLANTED, "secret": {"plain": PLANTED}}
    rules = {str(rule) for rule in admin.client.application.url_map.iter_rules()}
    for path in sorted(rule for rule in rules if rule.startswith("/api/")):
        for how in (basic("admin", PLANTED), f"Bearer {PLANTED}", basic()):
            admin.call(
                path, body, Authorization=how, Cookie=f"__Host-session={PLANTED}"
            )
            admin.call(path, [PLANTED], Authorization=how)
            admin.get(f"{path}?search={PLANTED}&token={PLANTED}", Authorization=how)

    assert logged.getvalue()
    assert PLANTED not in logged.getvalue()
    assert PASSWORD not in logged.getvalue()
