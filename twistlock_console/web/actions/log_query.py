"""How many lines of the log a request asks for, and these lines."""

from collections.abc import Mapping
from typing import cast

from flask import current_app
from pydantic import BaseModel, Field

from twistlock_console.common.errors import Refused
from twistlock_console.logs.reader import MOST_LINES, LogLine, latest
from twistlock_console.settings import Settings
from twistlock_console.web.lists.query import parse_up_to

USUAL_LINES = 100


class LinesQuery(BaseModel):
    """How many lines to give; there are at most 2,000, however many are asked for."""

    lines: int = Field(USUAL_LINES, ge=1)


def count_wished(given: Mapping[str, str]) -> int:
    """Return how many lines a query string asks for; raises Refused."""
    text = given.get("lines", "") or str(USUAL_LINES)
    if not (count := parse_up_to(text, MOST_LINES)):
        raise Refused(f"lines: give a whole number from 1; {MOST_LINES} is the most")
    return count


def lines_wished(given: Mapping[str, str]) -> list[LogLine]:
    """Read `lines` from a query string and the log; raises Refused."""
    count = count_wished(given)
    settings = cast(Settings, current_app.extensions["settings"])
    try:
        return latest(settings.folders, count)
    except OSError as error:
        raise Refused(f"the log cannot be read: {error.strerror}") from error
