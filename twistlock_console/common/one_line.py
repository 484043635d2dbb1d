"""Foreign text as a part of a sentence, which stands in a log, a table or a page. Pure.

What a file or a peer says may hold line breaks, control characters and halves of
characters: they would break the line, or could not be written at all.
"""


def one_line(text: str, most: int) -> str:
    """Return the first *most* characters of *text*, with ``?`` for unprintable ones."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
