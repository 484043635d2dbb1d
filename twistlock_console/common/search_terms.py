"""Compute the index terms of documents and the query terms of searches. Pure.

A search finds documents with a term that begins with a query term. The terms are stored
in the document, so that one index answers any search.
"""

import re

FIELD = "words"
MAX_TERMS = 24
MAX_TERM_CHARACTERS = 64
_GAPS = re.compile(r"\s+")
_PARTS = re.compile(r"[^\w]+")


def index_terms(*texts: str) -> list[str]:
    """Return at most MAX_TERMS terms of *texts*, in lower case, for the field FIELD.

    Each word between blanks is a term, and so are its parts: `web-1.example.com`
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
    """Return the prefixes that terms must have, for the text of a search box."""
    # No term has unprintable characters, and MongoDB accepts no NUL in a pattern.
    plain = "".join(c if c.isprintable() else " " for c in search.lower())
    return [term[:MAX_TERM_CHARACTERS] for term in _GAPS.split(plain) if term][:4]
