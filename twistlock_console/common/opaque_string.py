"""Normalize passwords and passphrases (RFC 8265, OpaqueString). Pure.

Keyboards and systems write the same letter with different code points, for example "é"
with one or with two. Without normalization their hashes would differ.
"""

import unicodedata

#: Unicode categories that a password may not have: control characters and unassigned
#: code points, whose normal form may change with the next version of Unicode.
REFUSED = frozenset({"Cc", "Cn", "Co", "Cs", "Zl", "Zp"})


def opaque_string(text: str) -> str:
    """Return *text* in normal form C with every space character as U+0020."""
    plain = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return unicodedata.normalize("NFC", plain)


def candidate_forms(text: str) -> tuple[str, ...]:
    """Return the forms to compare: the normal form, then *text* as it was typed.

    Earlier releases stored the hash of the typed form.
    """
    return tuple(dict.fromkeys((opaque_string(text), text)))


def refused_character(text: str) -> str | None:
    """Return the first character of *text* that a password may not have."""
    return next((c for c in text if unicodedata.category(c) in REFUSED), None)
