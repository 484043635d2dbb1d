"""The banner that tells of the takeover by which this node came to serve.

A web process serves under one epoch: once its record is there, the banner stays.
"""

import logging
from collections.abc import Iterable
from typing import cast

from flask import Flask, current_app

from plugins.ha.web import node_client
from plugins.ha.web.takeover import latest_takeover, told
from twistlock_console.common import clock
from twistlock_console.common.errors import ConsoleError
from twistlock_console.web.ui.banners import Banner, add_banners

RETRY_NS = clock.SECOND
log = logging.getLogger(__name__)


class News:
    """Asks the brain until the record of this epoch is there, once a second."""

    def __init__(self) -> None:
        self._banners: tuple[Banner, ...] | None = None
        self._next = 0

    def banners(self) -> Iterable[Banner]:
        """Give the banner; nothing after a first start, or while none is known."""
        if self._banners is None and clock.boottime_ns() >= self._next:
            self._next = clock.boottime_ns() + RETRY_NS
            self._banners = _look()
        return self._banners or ()


def init_app(app: Flask) -> None:
    """Have the pages tell of takeovers."""
    app.extensions["ha_news"] = News()
    add_banners(app, _banners)


def _banners() -> Iterable[Banner]:
    return cast(News, current_app.extensions["ha_news"]).banners()


def _look() -> tuple[Banner, ...] | None:
    """Give what there is to tell; None while the record has not been stored yet."""
    try:
        cluster = node_client.look()
    except ConsoleError as error:
        log.debug("no news of a takeover: %s", error)
        return None
    taken = latest_takeover(cluster["history"])
    if taken is None or taken["epoch"] != cluster["epoch"]:
        return None
    sentence = told(cluster["history"])
    return (Banner(f"takeover-{taken['epoch']}", sentence),) if sentence else ()
