"""How many lines of the log a request asks for, and these lines."""

import re
from collections.abc import Mapping
from typing import cast

from flask import current_app
from pydantic import BaseModel, Field

from twistlock_console.errors import Refused
from twistlock_console.log_lines import MOST_LINES, LogLine, latest
from twistlock_console.settings import Settings

USUAL_LINES = 100


class LinesQuery(BaseModel):
    """How many lines to give."""

    lines: int = Field(USUAL_LINES, ge=1, le=MOST_LINES)


def lines_wished(given: Mapping[str, str]) -> list[LogLine]:
    """Read `lines` from a query string and the log; raises Refused."""
    text = given.get("lines", "") or str(USUAL_LINES)
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_LINES:
        raise Refused(f"lines: give a whole number from 1 to {MOST_LINES}")
    settings = cast(Settings, current_app.extensions["settings"])
    try:
        return latest(settings.folders, int(text))
    except OSError as error:
        raise Refused(f"the log cannot be read: {error.strerror}") from error
