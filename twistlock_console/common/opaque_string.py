"""The one form of a password or passphrase, however it was typed. Pure.

RFC 8265, OpaqueString: the same letters are other code points on another keyboard or
system, for example an "é" of one code point or of two. Hashes would differ.
"""

import unicodedata

#: Categories of characters that a password may not have: control characters, and those
#: that are no characters, or not yet: their form could change with the next Unicode.
REFUSED = frozenset({"Cc", "Cn", "Co", "Cs", "Zl", "Zp"})


def opaque_string(text: str) -> str:
    """Return *text* in normal form C, with every kind of blank as U+0020."""
    plain = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return unicodedata.normalize("NFC", plain)


def candidate_forms(text: str) -> tuple[str, ...]:
    """Return the forms to try: the one of now, then *text* as it was typed.

    An earlier release stored what was typed.
    """
    return tuple(dict.fromkeys((opaque_string(text), text)))


def refused_character(text: str) -> str | None:
    """Return the first character of *text* that a password may not have."""
    return next((c for c in text if unicodedata.category(c) in REFUSED), None)
