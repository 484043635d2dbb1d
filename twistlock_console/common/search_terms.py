"""The words by which a document is found.

A search finds the documents of which a word begins with what was typed. The words lie
in the document, so that one index answers any search, however many documents there are.
"""

import re

FIELD = "words"
MOST = 24
LONGEST = 64
_GAPS = re.compile(r"\s+")
_PARTS = re.compile(r"[^\w]+")


def words_of(*texts: str) -> list[str]:
    """Return the words of *texts*, for the field FIELD: at most 24, in small letters.

    What stands between blanks is a word, and so are its parts: `web-1.example.com`
    is found by `web-1`, by `1.`, by `example` and by `com`.
    """
    found: dict[str, None] = {}
    for text in texts:
        for whole in _GAPS.split(text.lower()):
            found[whole[:LONGEST]] = None
            found.update(dict.fromkeys(p[:LONGEST] for p in _PARTS.split(whole)))
    return [word for word in found if word][:MOST]


def terms_of(search: str) -> list[str]:
    """Return what the words must begin with, for what was typed into a search box."""
    # What cannot be printed is in no word, and MongoDB takes no NUL in a pattern.
    plain = "".join(c if c.isprintable() else " " for c in search.lower())
    return [term[:LONGEST] for term in _GAPS.split(plain) if term][:4]
