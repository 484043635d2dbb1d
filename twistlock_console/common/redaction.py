"""Recognize secrets and redact them from values and texts. Pure.

API responses, pages, the history, dumps for support and the log use this module.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

HIDDEN = "(a secret)"
CHANGED = "(another secret)"

_NAME = (
    r"passw(?:or)?d|passphrase|secret|token|hash|private|credential|keyfile|encrypted"
    r"|api_?key|authorization|cookie"
)
#: The rest of a name after a word for a secret. Bounded, because any text is searched.
_REST = r"[^'\"\\\n]{0,64}"
_SECRET_NAME = re.compile(rf"{_NAME}|plain$", re.IGNORECASE)
_MARK = r"\((?:a|another) secret\)"
_URL = re.compile(
    rf"(?P<done>https?://[^\s\"'<>/]+/{_MARK})|https?://[^\s\"'<>]+", re.IGNORECASE
)
#: A value that consists of an address alone: a quote in it belongs to its path.
_ADDRESS = re.compile(r"https?:/\S*", re.IGNORECASE)
_HOST = re.compile(r"(\[[\w:.%-]+\]|[\w.-]+)(:\d{0,5})?")
#: Patterns with two groups that are kept, before and after the secret.
_IN_TEXT = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:KEY-----|$)()", re.DOTALL),
        (r"(://)[^/\s:@\"]*:[^/\s\"]+(@)", 0),
        (r"(\b(?:set-)?cookie: *)[^\r\n]+()", re.IGNORECASE),
        (rf"(\bauthorization: *\w+ +)(?!{_MARK})[^\s,;'\"]+()", re.IGNORECASE),
        (r"\b((?:bearer|basic)\s+)(?=\S*[0-9=.])[\w+/=.~-]{8,}()", re.IGNORECASE),
        (r"\b()eyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]+()", 0),
        # Of JSON, and of Python's values.
        (
            rf"((?:{_NAME}){_REST}\"\s*:\s*\")(?!{_MARK}\")(?:[^\"\\]|\\.)+(\")",
            re.IGNORECASE,
        ),
        (
            rf"((?:{_NAME}){_REST}': ')(?!{_MARK}')(?:[^'\\]|\\.)+(')",
            re.IGNORECASE,
        ),
        (
            rf"((?:{_NAME})\w{{0,64}}=)(?!{_MARK})"
            r"(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s&\"']+)()",
            re.IGNORECASE,
        ),
    )
)


def is_secret_name(name: str) -> bool:
    """Return whether a member called *name* holds a secret."""
    return bool(_SECRET_NAME.search(name))


def redact_url(url: str, mark: str = HIDDEN) -> str:
    """Return *url* with its host alone; *mark* replaces the rest, if there is any.

    Many webhooks carry their secret in the path or in the query.
    """
    if not url:
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return mark
    if not _HOST.fullmatch(host):
        return mark
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return f"{parts.scheme}://{host}/{mark}" if rest else url


def is_redacted(text: str) -> bool:
    """Return whether *text* is a result of `redact`."""
    return text.endswith(HIDDEN)


def redact_text(text: str) -> str:
    """Return *text* without the secrets that have a known form."""
    shown = _URL.sub(lambda found: found["done"] or redact_url(found[0]), text)
    for pattern in _IN_TEXT:
        shown = pattern.sub(rf"\1{HIDDEN}\2", shown)
    return shown


def redact(value: object, before: object = None) -> object:
    """Return *value* without secrets, at any depth.

    If *before*, the previous value, had another secret, mark the secret as changed.
    """
    match value:
        case Mapping():
            old = before if isinstance(before, Mapping) else {}
            return {
                str(name): _redact_member(str(name), part, old.get(name))
                for name, part in value.items()
            }
        case list() | tuple():
            return [redact(part) for part in value]
        case str():
            return _redact_string(value, before)
        case _:
            return value


def _redact_member(name: str, value: object, before: object) -> object:
    if is_secret_name(name):
        return _hide(value, before)
    return redact(value, before)


def _hide(value: object, before: object) -> object:
    """Return *value* with texts hidden; keep structure, booleans, empty values."""
    match value:
        case Mapping():
            old = before if isinstance(before, Mapping) else {}
            return {
                str(name): _hide(part, old.get(name)) for name, part in value.items()
            }
        case list() | tuple():
            return [_hide(part, None) for part in value]
        case bool():
            return value
        case _ if not value:
            return value
        case _:
            return CHANGED if before not in (None, value) else HIDDEN


def _redact_value(text: str) -> str:
    return redact_url(text) if _ADDRESS.fullmatch(text) else redact_text(text)


def _redact_string(text: str, before: object) -> str:
    shown = _redact_value(text)
    if isinstance(before, str) and before != text and shown == _redact_value(before):
        return shown.replace(HIDDEN, CHANGED)
    return shown
