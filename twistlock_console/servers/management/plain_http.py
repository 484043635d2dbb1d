"""The answer to a client that speaks plain HTTP to a port for HTTPS.

Pure. A browser that was given `host:8443` sends plain HTTP, and is redirected to HTTPS.
A request that may carry a secret is refused: a browser must not repeat it unasked.
"""

import re

MAX_HEAD_BYTES = 8 * 1024
#: The first byte of every TLS connection: a record that holds a handshake.
TLS_HANDSHAKE = 0x16
SENTENCE = "This port speaks HTTPS: begin the address with https://\n"

_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[\x21-\x7e]{0,4096}) HTTP/1\.[01]\r?\n")
_HOST = re.compile(
    rb"\r?\nhost:[ \t]*"
    rb"((?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?)"
    rb"[ \t]*\r?\n",
    re.IGNORECASE,
)


def is_plain(first: bytes) -> bool:
    """Return whether the *first* byte of a connection cannot begin a TLS handshake."""
    return first[0] != TLS_HANDSHAKE


def is_whole_head(received: bytes | bytearray) -> bool:
    """Return whether *received* holds the head, or as much as is read of one."""
    ended = b"\r\n\r\n" in received or b"\n\n" in received
    return ended or len(received) >= MAX_HEAD_BYTES


def plain_answer(received: bytes) -> bytes:
    """Return a redirect to HTTPS, or an error if the request cannot be redirected."""
    line, host = _REQUEST_LINE.match(received), _HOST.search(received)
    if line is None or host is None:
        return _answer("400 Bad Request")
    location = f"https://{host[1].decode()}{line[2].decode()}"
    return _answer(
        "308 Permanent Redirect", f"Location: {location}\r\n", line[1] == b"HEAD"
    )


def _answer(status: str, header: str = "", omit_body: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\n{header}Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(SENTENCE)}\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return (head + ("" if omit_body else SENTENCE)).encode()
