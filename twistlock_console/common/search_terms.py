"""The words by which a document is found.

A search finds the documents of which a word begins with what was typed. The words lie
in the document, so that one index answers any search, however many documents there are.
"""

import re

FIELD = "words"
MAX_TERMS = 24
MAX_TERM_CHARACTERS = 64
_GAPS = re.compile(r"\s+")
_PARTS = re.compile(r"[^\w]+")


def index_terms(*texts: str) -> list[str]:
    """Return the words of *texts*, for the field FIELD: at most 24, in small letters.

    What stands between blanks is a word, and so are its parts: `web-1.example.com`
    is found by `web-1`, by `1.`, by `example` and by `com`.
    """
    found: dict[str, None] = {}
    for text in texts:
        for whole in _GAPS.split(text.lower()):
            found[whole[:MAX_TERM_CHARACTERS]] = None
            found.update(
                dict.fromkeys(p[:MAX_TERM_CHARACTERS] for p in _PARTS.split(whole))
            )
    return [word for word in found if word][:MAX_TERMS]


def query_terms(search: str) -> list[str]:
    """Return what the words must begin with, for what was typed into a search box."""
    # What cannot be printed is in no word, and MongoDB takes no NUL in a pattern.
    plain = "".join(c if c.isprintable() else " " for c in search.lower())
    return [term[:MAX_TERM_CHARACTERS] for term in _GAPS.split(plain) if term][:4]
