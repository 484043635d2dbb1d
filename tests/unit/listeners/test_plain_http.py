"""What a client gets that speaks plain HTTP to a port for HTTPS."""

import pytest

from twistlock_console.servers.management.plain_http import (
    MAX_HEAD_BYTES,
    is_plain,
    is_whole_head,
    plain_answer,
)


@pytest.mark.parametrize(
    ("received", "location"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "https://a/"),
        (b"GET /x?y=1 HTTP/1.0\r\nhost:  a.example:8443 \r\n\r\n", None),
        (
            b"GET //b.example HTTP/1.1\r\nHost: a:8443\r\n\r\n",
            "https://a:8443//b.example",
        ),
        (
            b"GET / HTTP/1.1\r\nAccept: */*\r\nHOST: [::1]:8083\r\n\r\n",
            "https://[::1]:8083/",
        ),
        (b"GET / HTTP/1.1\nHost: a\n\n", "https://a/"),
    ],
)
def test_a_page_is_redirected_to_https(received: bytes, location: str | None) -> None:
    """At the host and port that were asked, and under the same path."""
    location = location or "https://a.example:8443/x?y=1"
    answer = plain_answer(received)

    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert f"\r\nLocation: {location}\r\n".encode() in answer
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no-host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="no-name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", id="a-user"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", id="a-path"),
        pytest.param(
            b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", id="a-proxy-request"
        ),
        pytest.param(
            b"POST /api/v1/authenticate HTTP/1.1\r\nHost: a\r\n\r\n", id="post"
        ),
        pytest.param(b"\x00\x01\r\n\r\n", id="no-http"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_cannot_be_sent_on_gets_a_sentence(received: bytes) -> None:
    """What may carry a secret is not repeated by itself."""
    answer = plain_answer(received)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(
        b"\r\n\r\nThis port speaks HTTPS: begin the address with https://\n"
    )
    assert b"Location" not in answer


def test_the_answer_to_head_has_no_body() -> None:
    """But the length that a GET would give."""
    answer = plain_answer(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 308 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 56\r\n" in answer


@pytest.mark.parametrize(
    ("received", "whole"),
    [
        (b"GET / HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\n\n", True),
        (b"x" * MAX_HEAD_BYTES, True),
    ],
)
def test_what_is_enough_to_answer(received: bytes, whole: bool) -> None:
    """The head, or as much as is read of it."""
    assert is_whole_head(received) is whole


def test_tls_is_known_by_its_first_byte() -> None:
    """Everything else is no handshake."""
    assert not is_plain(b"\x16")
    assert is_plain(b"G")
    assert is_plain(b"\x80")
