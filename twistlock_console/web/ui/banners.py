"""Banners above the pages: what happened that a reader should know, told once.

Rooms and plugins add sources, and the Console knows none of them by name. A session is
not told what happened before it began, nor again what it has put away.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, session

PART = "told"
REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Banner:
    """One sentence; *key* names what happened."""

    key: str
    sentence: str


Source = Callable[[], Iterable[Banner]]


def add_banners(app: Flask, source: Source) -> None:
    """Have *source* asked with every page; it must be quick, and may not raise."""
    _sources(app).append(source)


def untold() -> list[Banner]:
    """Give what this session has not put away."""
    told = session.get(PART, ())
    return [banner for banner in _all() if banner.key not in told]


def put_away(*keys: str) -> None:
    """Tell this session no more of *keys*."""
    session[PART] = [*session.get(PART, ()), *keys][-REMEMBERED:]


def begin() -> None:
    """Let the session that begins know all that has happened so far."""
    put_away(*(banner.key for banner in _all()))


def _all() -> list[Banner]:
    return [banner for source in _sources(current_app) for banner in source()]


def _sources(app: Flask) -> list[Source]:
    return cast(list[Source], app.extensions.setdefault("banners", []))
