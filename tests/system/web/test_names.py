"""Rules of the Console's names: validated, stored for all nodes, and recorded."""

import pytest
from flask import Flask

from tests.web.web_visitor import Visitor, basic
from twistlock_console.certificate_renewal.names import (
    MAX_EXTRA_NAMES,
    ExtraNamesReader,
    checked_names,
)
from twistlock_console.common.errors import Refused
from twistlock_console.settings import Settings

PATH = "/api/v1/settings/certs"
PAGE = "/manage/defenders/names"


def test_all_names_are_set_by_one_request(admin: Visitor, running: Settings) -> None:
    """A client gets, edits and posts them; every node reads them from its member."""
    sent = {"consoleSAN": ["LB.example.com", "10.0.0.9", "10.0.0.9"]}
    saved = admin.call(PATH, sent, Authorization=basic())

    shown = admin.get(PATH, Authorization=basic()).get_json()
    here = ExtraNamesReader(running)
    names = here.read()
    here.close()
    history = admin.get("/api/v1/audits/mgmt", Authorization=basic()).get_json()
    assert saved.status_code == 200
    assert shown["consoleSAN"] == list(names) == ["LB.example.com", "10.0.0.9"]
    assert shown["caExpiration"].endswith("+00:00")
    assert '+  "10.0.0.9"' in history[0]["diff"]


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a,b", "-x.de", "a" * 254, "1.2.3.4.5"]
)
def test_an_invalid_name_is_refused(admin: Visitor, name: str) -> None:
    """An invalid name is refused and nothing is stored."""
    answer = admin.call(PATH, {"consoleSAN": ["ok.test", name]}, Authorization=basic())

    assert answer.status_code == 400
    assert admin.get(PATH, Authorization=basic()).get_json()["consoleSAN"] == []


def test_the_number_of_names_is_limited() -> None:
    """The number of names is limited, because a certificate has a maximum size."""
    names = [f"n{number}.test" for number in range(MAX_EXTRA_NAMES)]

    assert checked_names([*names, names[0]]) == tuple(names)
    with pytest.raises(Refused, match="50 more names at most"):
        checked_names([*names, "more.test"])


def test_the_page_adds_and_removes_names(admin: Visitor, app: Flask) -> None:
    """It shows which names the certificate has; an error is one sentence."""
    admin.send(f"{PAGE}/add", form_on=PAGE, name="lb.test")
    added = admin.get(PAGE).get_data(as_text=True)
    admin.send(f"{PAGE}/add", form_on=PAGE, name="<b>")
    page = admin.get(PAGE).get_data(as_text=True)
    admin.send(f"{PAGE}/remove", form_on=PAGE, name="lb.test")
    after = admin.get(PAGE).get_data(as_text=True)

    assert "The name lb.test is added. All nodes renew" in added
    assert "&lt;b&gt;" in page
    assert "is neither a DNS name nor an IP address" in page
    assert "not yet" in page
    assert 'value="lb.test"' not in after


def test_removing_an_unknown_name_is_refused(admin: Visitor) -> None:
    """An unknown name gets an error and no message of success."""
    admin.send(f"{PAGE}/remove", form_on=PAGE, name="never.test")
    page = admin.get(PAGE).text

    assert "There is no name &#39;never.test&#39; in the list." in page
    assert "never.test is removed" not in page
