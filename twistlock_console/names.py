"""Compare names regardless of case and Unicode form, and check new ones. Pure.

Users, Defenders and rules have names that people read and type. Two names that appear
equal must not belong to two things: `Admin` beside `admin`, or a name with a
Cyrillic letter beside its Latin twin. Existing names remain valid.
"""

import re
import unicodedata

from twistlock_console.common.errors import Refused

#: Scripts with confusable letters. A word with letters of two of them is refused.
CONFUSABLE_SCRIPTS = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"}
)
#: General categories of characters that cannot be seen.
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_WORD = re.compile(r"[^\W\d_]+")


def name_key(name: str) -> str:
    """Return the form of *name* that is compared: NFKC, without case."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)


def check_new_name(name: str) -> None:
    """Raise Refused if *name* cannot be distinguished from another by reading.

    That is: an invisible character, a blank at either end, or a word with letters of
    two alphabets that are confusable.
    """
    for character in name:
        if unicodedata.category(character) in INVISIBLE_CATEGORIES:
            raise Refused(
                f"the name {name!r} holds the invisible character "
                f"U+{ord(character):04X}; type the name again without it"
            )
    if name != name.strip():
        raise Refused(f"the name {name!r} begins or ends with a blank; remove it")
    for word in _WORD.findall(unicodedata.normalize("NFC", name)):
        if len(found := CONFUSABLE_SCRIPTS.intersection(map(_script, word))) > 1:
            mixed = " and ".join(sorted(each.capitalize() for each in found))
            raise Refused(
                f"the name {name!r} mixes {mixed} letters, which look alike; write "
                f"the word {word!r} in one alphabet"
            )


def _script(letter: str) -> str:
    """Return the first word of the letter's Unicode name, which is its script."""
    return unicodedata.name(letter, "").partition(" ")[0]
