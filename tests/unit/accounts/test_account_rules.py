"""Rules of names, passwords and roles."""

from itertools import product

import pytest
from argon2 import PasswordHasher

from twistlock_console import plugins
from twistlock_console.accounts.credential_rules import (
    check_password,
    check_repeated,
    check_username,
)
from twistlock_console.accounts.login_settings import LogonSettings
from twistlock_console.accounts.login_throttle import HashCaller
from twistlock_console.accounts.passwords import (
    Match,
    hash_in_slot,
    hash_password,
    match_in_slot,
    matches,
    queue,
)
from twistlock_console.accounts.rights import CORE_AREAS, Area, Areas, UserRole, may
from twistlock_console.common.errors import Refused

ALL_AREAS = (*CORE_AREAS, *(a for plugin in plugins.installed() for a in plugin.rights))


@pytest.mark.parametrize(
    ("password", "strong", "rule"),
    [
        pytest.param("eight888", False, None, id="eight-will-do"),
        pytest.param("seven77", False, "at least 8 characters", id="seven"),
        pytest.param("administrator", False, "differ from the username", id="same"),
        pytest.param("x" * 257, False, "at most 256", id="huge"),
        pytest.param("Abcdefgh-123", True, None, id="strong"),
        pytest.param("Abcdefg-123", True, "at least 12", id="strong-but-short"),
        pytest.param("abcdefgh-123", True, "upper-case", id="no-upper"),
        pytest.param("ABCDEFGH-123", True, "lower-case", id="no-lower"),
        pytest.param("Abcdefgh-xyz", True, "a digit", id="no-digit"),
        pytest.param("Abcdefgh1234", True, "special", id="no-special"),
    ],
)
def test_passwords_keep_the_rules(
    password: str, rule: str | None, *, strong: bool
) -> None:
    """A password is accepted, or the first broken rule is named."""
    refusal = None
    try:
        check_password(password, "administrator", strong=strong)
    except Refused as error:
        refusal = str(error)

    assert (refusal is None) == (rule is None)
    assert rule is None or rule in (refusal or "")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 65, "a\n", "é", "a/b", "$ne"])
def test_odd_usernames_are_refused(name: str) -> None:
    """A username is plain: it stands in pages, logs and addresses."""
    with pytest.raises(Refused, match="a username has"):
        check_username(name)


@pytest.mark.parametrize("name", ["a", "admin", "j.doe@example.com", "a" * 64])
def test_plain_usernames_are_accepted(name: str) -> None:
    """Names of people and mail addresses are usernames."""
    check_username(name)


def test_a_password_is_typed_twice() -> None:
    """A slip of the finger does not become the password."""
    check_repeated("one", "one")
    with pytest.raises(Refused, match="differ"):
        check_repeated("one", "two")


def test_hashes_tell_right_from_wrong() -> None:
    """Only the password itself matches, and nobody's hash matches nothing."""
    stored = hash_password("right")

    assert stored.startswith("$argon2id$")
    assert matches(stored, "right")
    assert not matches(stored, "wrong")
    assert not matches(None, "no account has this password")
    assert not matches("garbage", "right")


COMPOSED, DECOMPOSED = "caf\u00e9 \u00fcber", "cafe\u0301 u\u0308ber"


def test_a_password_is_one_however_it_is_typed() -> None:
    """Composed or not, with any kind of blank: RFC 8265."""
    stored = hash_password(DECOMPOSED)

    assert matches(stored, COMPOSED)
    assert matches(stored, DECOMPOSED)
    assert matches(stored, COMPOSED.replace(" ", "\u00a0"))
    assert not matches(stored, COMPOSED.upper())
    assert not matches(stored, "cafe uber")
    check_repeated(COMPOSED, DECOMPOSED)


def test_a_hash_of_what_was_typed_still_matches() -> None:
    """A release before did not change what was typed; that is told apart."""
    earlier = PasswordHasher().hash(DECOMPOSED)

    with queue.slot(HashCaller()):
        assert match_in_slot(earlier, DECOMPOSED) is Match.EARLIER_FORM
        assert match_in_slot(earlier, COMPOSED) is Match.NO
        assert match_in_slot(hash_in_slot(DECOMPOSED), DECOMPOSED) is Match.YES
        assert match_in_slot(None, DECOMPOSED) is Match.NO


@pytest.mark.parametrize(
    "character", ["\x00", "\t", "\x7f", "\u2028", "\ue000", "\U0003fffd"]
)
def test_a_password_has_no_characters_without_a_form(character: str) -> None:
    """Control characters, and code points that are none."""
    with pytest.raises(Refused, match=f"U[+]{ord(character):04X}"):
        check_password(f"long enough {character}", "jane", strong=False)


def test_every_area_is_in_the_table() -> None:
    """No part of the Console is without a row, and Administrators may do everything."""
    for area in ALL_AREAS:
        assert len(area.rights) == len(UserRole)
        assert may(UserRole.ADMIN, area, change=True)


def test_who_may_change_may_read() -> None:
    """Rights grow: nothing is changed blindly."""
    for role, area in product(UserRole, ALL_AREAS):
        assert may(role, area, change=False) or not may(role, area, change=True)


@pytest.mark.parametrize(
    ("role", "area", "change", "allowed"),
    [
        (UserRole.OPERATOR, Areas.POLICIES, True, True),
        (UserRole.OPERATOR, Areas.USERS, False, True),
        (UserRole.OPERATOR, Areas.USERS, True, False),
        (UserRole.AUDITOR, Areas.HISTORY, False, True),
        (UserRole.AUDITOR, Areas.POLICIES, True, False),
        (UserRole.AUDITOR, Areas.DEFENDER_SCRIPTS, False, False),
        (UserRole.DEFENDER_MANAGER, Areas.DEFENDERS, True, True),
        (UserRole.DEFENDER_MANAGER, Areas.DEFENDER_NAMES, False, False),
        (UserRole.DEFENDER_MANAGER, Areas.LOGON, False, True),
        (UserRole.DEFENDER_MANAGER, Areas.LOGON, True, False),
        (UserRole.DEFENDER_MANAGER, Areas.USERS, False, False),
    ],
)
def test_roles_are_those_of_the_product(
    role: UserRole, area: Area, *, change: bool, allowed: bool
) -> None:
    """What the product's manual says of its roles holds here."""
    assert may(role, area, change=change) is allowed


def test_logon_settings_that_another_release_stored_are_read() -> None:
    """What this release does not know is left out; what is missing has its default."""
    stored = {"_id": "logon", "strongPassword": True, "ofAnotherRelease": 1}

    assert LogonSettings.from_document(stored).to_json() == {
        "sessionTimeoutSec": 1800,
        "strongPassword": True,
        "basicAuthDisabled": False,
    }
