"""Check usernames and passwords against the rules for new ones. Pure."""

import re

from twistlock_console.common.errors import Refused
from twistlock_console.common.opaque_string import opaque_string, refused_character
from twistlock_console.names import name_key

SPECIAL = "~!@#$%^&*()-_=+|[{}];:'\\\",<.>/?"
MIN_PASSWORD_LENGTH = 8
MIN_STRONG_PASSWORD_LENGTH = 12
MAX_PASSWORD_LENGTH = 256

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def check_username(username: str) -> None:
    """Raise Refused, with the broken rule, unless *username* may be a new username."""
    if not _USERNAME.fullmatch(username):
        raise Refused(
            "a username has 1 to 64 letters, digits, dots, dashes, underscores or @, "
            "and begins with a letter or a digit"
        )


def check_password(password: str, username: str, *, strong: bool) -> None:
    """Raise Refused, with the first broken rule, unless *password* may be set.

    *strong* adds the rules for strong passwords.
    """
    if (refused := refused_character(password)) is not None:
        raise Refused(
            f"the password holds the character U+{ord(refused):04X}, which cannot be "
            "typed everywhere; leave it out"
        )
    for broken, rule in _rules(opaque_string(password), username, strong=strong):
        if broken:
            raise Refused(f"the password {rule}")


def check_repeated(password: str, repeated: str) -> None:
    """Raise Refused unless the password was typed the same way twice."""
    if opaque_string(password) != opaque_string(repeated):
        raise Refused("the two passwords differ")


def _rules(password: str, username: str, *, strong: bool) -> list[tuple[bool, str]]:
    shortest = MIN_STRONG_PASSWORD_LENGTH if strong else MIN_PASSWORD_LENGTH
    rules = [
        (len(password) < shortest, f"must have at least {shortest} characters"),
        (
            len(password) > MAX_PASSWORD_LENGTH,
            f"must have at most {MAX_PASSWORD_LENGTH} characters",
        ),
        (name_key(password) == name_key(username), "must differ from the username"),
    ]
    if strong:
        rules += [
            (not re.search("[A-Z]", password), "needs an upper-case letter"),
            (not re.search("[a-z]", password), "needs a lower-case letter"),
            (not re.search("[0-9]", password), "needs a digit"),
            (
                not any(c in SPECIAL for c in password),
                f"needs a special character, one of {SPECIAL}",
            ),
        ]
    return rules
