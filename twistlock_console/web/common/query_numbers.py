"""Whole numbers in a query string."""

import re

#: More digits than any bound of ours has.
MAX_DIGITS = 9


def parse_up_to(text: str, most: int) -> int | None:
    """Return the whole number in *text*, or *most* where it is larger.

    A client cannot know how much there is or how much we give at once: asking for
    more is asking for all. Returns None where *text* is no whole number.
    """
    if not re.fullmatch("[0-9]+", text):
        return None
    digits = text.lstrip("0") or "0"
    return most if len(digits) > MAX_DIGITS else min(int(digits), most)
