"""Rules against other sites: no forged forms, no framed pages, no redirects."""

import html
import re
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.web.web_visitor import HTTPS, PASSWORD, USERNAME, Visitor

EVIL = "evil.test"
SENT = {"username": USERNAME, "password": PASSWORD}


def forms(app: Flask) -> list[str]:
    """Yield every path of a page that takes a form."""
    return sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or set()) and not rule.rule.startswith("/api/")
    )


def pages(app: Flask) -> list[str]:
    """Yield every page without a variable in its path."""
    return sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or set())
        and not rule.arguments
        and not rule.rule.startswith("/api/")
    )


def test_no_form_works_without_its_token(admin: Visitor, app: Flask) -> None:
    """Every form is refused without the token of its page."""
    found = forms(app)
    codes = {
        path: admin.client.post(path, base_url=HTTPS, data=SENT).status_code
        for path in found
    }

    assert len(found) > 8
    assert codes == dict.fromkeys(found, 400)


def test_a_token_from_another_browser_is_refused(admin: Visitor, app: Flask) -> None:
    """The token of a form is valid only in its session."""
    page = app.test_client().get("/login", base_url=HTTPS).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    fields = {"csrf_token": token[1], "minutes": "5"}
    path = "/manage/authentication/logon"
    answer = admin.client.post(
        path, base_url=HTTPS, data=fields, headers={"Referer": HTTPS + path}
    )

    assert answer.status_code == 400


def test_a_form_sent_from_another_site_is_refused(admin: Visitor) -> None:
    """This holds even with the right token: the browser sends the origin."""
    path = "/manage/authentication/logon"
    token = re.search(r'name="csrf_token" value="([^"]+)"', admin.get(path).text)
    assert token is not None
    answer = admin.client.post(
        path,
        base_url=HTTPS,
        data={"csrf_token": token[1], "minutes": "5"},
        headers={"Referer": f"https://{EVIL}/"},
    )

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        pytest.param(
            {"Referer": "https://console.example.com/login", "Host": "10.0.0.1:8083"},
            "The browser opened console.example.com, but the request reached the "
            "Console as 10.0.0.1:8083: a proxy in front of it changes the Host header",
            id="rewritten-host",
        ),
        pytest.param(
            {"Referer": "https://console.test:8443/login", "Host": "console.test"},
            "opened console.test:8443, but the request reached the Console as "
            "console.test: a proxy",
            id="port-dropped",
        ),
        pytest.param(
            {"Referer": "http://console.test/login"},
            "with http, and a proxy in front of the Console forwarded it as https",
            id="http-outside",
        ),
        pytest.param({}, "The Referer header is missing", id="referrer-removed"),
        *(
            pytest.param({"Referer": odd}, "The Referer header is missing", id=odd)
            for odd in ("https://[", "https://console.test:x/", "https://a]b/")
        ),
    ],
)
def test_a_form_refused_because_of_a_proxy_says_so(
    visitor: Visitor, headers: dict[str, str], sentence: str
) -> None:
    """Repeating the form cannot help; the page says what the proxy does wrong."""
    page = visitor.get("/login", Host=headers.get("Host", "console.test")).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    fields = {**SENT, "csrf_token": token[1]}
    # The cookie jar asks for a name; a proxy sends the cookie on whatever the Host is.
    cookie = visitor.client.get_cookie("__Host-session", domain="console.test")
    sent = {"Cookie": f"__Host-session={cookie.value}"} if cookie else {}

    answer = visitor.client.post(
        "/login", base_url=HTTPS, data=fields, headers={**sent, **headers}
    )

    text = " ".join(html.unescape(answer.text).split())
    assert answer.status_code == 400
    assert sentence in text
    assert "out of date" not in text


def test_a_form_without_a_cookie_says_so(visitor: Visitor, app: Flask) -> None:
    """The page names the cause, a browser or proxy that drops cookies."""
    page = visitor.get("/login").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    answer = app.test_client().post(
        "/login",
        base_url=HTTPS,
        data={**SENT, "csrf_token": token[1]},
        headers={"Referer": f"{HTTPS}/login"},
    )

    assert answer.status_code == 400
    assert "session cookie of this form did not arrive" in answer.text


def test_a_form_cannot_call_the_api(admin: Visitor) -> None:
    """A cross-site form is no JSON, and the API ignores its cookie."""
    answers = [
        admin.client.post("/api/v1/settings/logon", base_url=HTTPS, data={"a": "b"}),
        admin.client.post(
            "/api/v1/authenticate",
            base_url=HTTPS,
            data='{"username":"a","password":"b"}',
            content_type="text/plain",
        ),
    ]

    assert [answer.status_code for answer in answers] == [401, 415]


def test_no_page_can_be_framed(admin: Visitor, app: Flask) -> None:
    """The headers for old and new browsers forbid it."""
    for path in pages(app):
        headers = admin.get(path).headers

        assert headers["X-Frame-Options"] == "DENY", path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path


@pytest.mark.parametrize(
    "target",
    [
        f"https://{EVIL}/",
        f"//{EVIL}/",
        f"///{EVIL}/",
        f"/\\{EVIL}/",
        f"\\\\{EVIL}/",
        f"/\t/{EVIL}/",
        f"/\r\nLocation: https://{EVIL}/",
        f"https:{EVIL}/",
        "javascript:alert(1)",
        f"/login?next=//{EVIL}/",
        f"@{EVIL}/",
        f" /{EVIL}",
    ],
)
def test_a_login_does_not_redirect_to_another_site(
    stranger: Visitor, target: str
) -> None:
    """A link to the login cannot redirect to another site."""
    answer = stranger.send("/login", next=target, **SENT)
    place = urlsplit(answer.location)

    assert answer.status_code == 303
    assert (place.scheme, place.netloc) == ("", "")
    assert answer.location.startswith("/")
    assert not answer.location.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/signup",
        "/nowhere",
        "/api/v1/x",
        "/api/v1//users",
        "/manage//defenders?a=b",
        "",
    ],
)
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "Forwarded"])
def test_nothing_is_built_from_the_host_header(
    admin: Visitor, path: str, header: str
) -> None:
    """Links and redirects contain no host, so a forged Host has no effect."""
    value = f"host={EVIL}" if header == "Forwarded" else EVIL
    answer = admin.client.get(path, base_url=HTTPS, headers={header: value})

    assert EVIL not in answer.text
    assert EVIL not in str(answer.headers)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test", "x" * 5000])
def test_an_invalid_host_is_refused(admin: Visitor, host: str) -> None:
    """The answer is a 400 with one sentence, and not an internal error."""
    page = admin.get("/", Host=host)
    call = admin.get("/api/v1/users", Host=host)

    sentence = "the Host header of the request names no host"
    assert (page.status_code, page.text) == (400, f"{sentence}\n")
    assert (call.status_code, call.get_json()) == (400, {"err": sentence})


@pytest.mark.parametrize(
    "path",
    [
        "/login?next=/a%0d%0aSet-Cookie:%20evil=1",
        "/api/v1/users?sort=%0d%0aSet-Cookie:%20evil=1",
        "/manage/logs/history?search=%0d%0aSet-Cookie:%20evil=1",
        "/nowhere%0d%0aSet-Cookie:%20evil=1",
        "/manage/authentication/users/edit?username=%0d%0aSet-Cookie:%20evil=1",
    ],
)
def test_no_line_end_gets_into_a_header(admin: Visitor, path: str) -> None:
    """A path cannot add a header to the answer."""
    answer = admin.get(path)

    assert answer.status_code < 500
    assert "evil" not in answer.headers
    assert not any("evil" in cookie for cookie in answer.headers.getlist("Set-Cookie"))
    assert not any("\n" in value or "\r" in value for value in answer.headers.values())
