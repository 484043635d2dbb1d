"""Rules of the API explorer: it describes each call and sends it."""

import pytest
from flask import Flask

from tests.web.web_visitor import Visitor, basic
from twistlock_console.web.openapi.explorer import example_body

PAGE = "/manage/system/api"
USER = f"{PAGE}/post_api_users_add"


def test_every_call_can_be_read(admin: Visitor, app: Flask) -> None:
    """The page lists each call, and each has a page of its own."""
    pages = admin.get("/api/v1/openapi.json", Authorization=basic()).get_json()
    listed = admin.get(PAGE).text
    calls = [call for path in pages["paths"].values() for call in path.values()]
    codes = {admin.get(f"{PAGE}/{c['operationId']}").status_code for c in calls}

    assert all(f'"{PAGE}/{call["operationId"]}"' in listed for call in calls)
    assert codes == {200}
    assert admin.get(f"{PAGE}/nothing").status_code == 404


def test_a_call_is_tried_as_oneself(admin: Visitor) -> None:
    """The response is shown with its status and headers."""
    page = admin.send(f"{PAGE}/get_api_users_users", **{"query-search": "adm"}).text

    assert "GET /api/v1/users?search=adm: 200 OK" in page
    assert "<dt>Total-Count</dt><dd>1</dd>" in page
    assert "&#34;username&#34;: &#34;admin&#34;" in page


def test_a_tried_change_is_a_change(admin: Visitor) -> None:
    """It has its effect, is recorded with its user, and is refused like any call."""
    body = '{"username": "jane", "password": "jane has a phrase", "role": "auditor"}'
    done = admin.send(USER, body=body).text
    again = admin.send(USER, body=body).text
    gone = admin.send(
        f"{PAGE}/delete_api_users_remove", **{"path-username": "no/../body"}
    ).text

    assert "POST /api/v1/users: 200 OK" in done
    assert "there is a user jane already" in again
    assert "DELETE /api/v1/users/no%2F..%2Fbody: 404 NOT FOUND" in gone


def test_rights_hold_for_tried_calls(admin: Visitor, app: Flask) -> None:
    """An Auditor may read about every call, and send those that the API allows."""
    admin.send(USER, body='{"username": "jane", "password": "jane has a phrase"}')
    jane = Visitor(app.test_client())
    jane.log_in("jane", "jane has a phrase")
    page = jane.send(USER, body='{"username": "eve", "password": "long enough"}').text

    assert "403 FORBIDDEN" in page
    assert "your role does not allow this" in page


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}}},
            '{\n  "a": ""\n}',
        ),
        ({"type": "integer", "minimum": 60}, "60"),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/A"}},
            "[\n  true\n]",
        ),
        ({"anyOf": [{"const": "x"}, {"type": "null"}]}, '"x"'),
        ({"enum": ["one", "two"]}, '"one"'),
        ({"type": "number"}, "0"),
    ],
)
def test_an_example_fits_its_schema(schema: dict[str, object], example: str) -> None:
    """The example has each field, with its default, first choice or an empty value."""
    assert example_body(schema, {"A": {"type": "boolean", "default": True}}) == example
