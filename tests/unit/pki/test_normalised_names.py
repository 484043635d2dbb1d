"""Rules of names: what is one name, and what no new name may hold."""

import unicodedata

import pytest

from twistlock_console.certificate_renewal.names import checked_names
from twistlock_console.common.errors import Refused
from twistlock_console.names import check_new_name, name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Admin", "aDMIN", id="case"),
        pytest.param("café", unicodedata.normalize("NFD", "café"), id="decomposed"),
        pytest.param("STRASSE", "straße", id="sharp-s"),
        pytest.param("admin", "\uff41\uff44\uff4d\uff49\uff4e", id="full-width"),
        pytest.param("\u212aey", "key", id="kelvin-sign"),
    ],
)
def test_names_that_look_the_same_are_one(one: str, other: str) -> None:
    """Case and Unicode form make no other name."""
    assert name_key(one) == name_key(other)
    assert name_key(name_key(one)) == name_key(one)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("web\u200b1", "invisible character U+200B", id="zero-width"),
        pytest.param("web\u202e1", "invisible character U+202E", id="bidi"),
        pytest.param("web\x00", "invisible character U+0000", id="control"),
        pytest.param("web\U000e0041", "invisible character U+E0041", id="tag"),
        pytest.param("web\ue000", "invisible character U+E000", id="private"),
        pytest.param(" web", "begins or ends with a blank", id="blank"),
        pytest.param("web\u00a0", "begins or ends with a blank", id="no-break-space"),
        pytest.param("\u0430dmin", "mixes Cyrillic and Latin", id="cyrillic"),
        pytest.param("adm\u03b9n rule", "write the word 'adm\u03b9n'", id="greek"),
    ],
)
def test_a_new_name_may_not_be_a_disguise(name: str, words: str) -> None:
    """What cannot be seen, or told apart, is refused and named."""
    with pytest.raises(Refused, match="the name") as refusal:
        check_new_name(name)

    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [
        "web-1",
        "\u0421\u0435\u0440\u0432\u0435\u0440 web",
        "café",
        "5 \u00b5s",
        "東京 web サーバー",
        "no ssh, ever!",
        "한국",
    ],
)
def test_names_in_any_language_may_be_given(name: str) -> None:
    """Each word in its own alphabet."""
    check_new_name(name)


def test_dns_names_are_given_once_whatever_their_case() -> None:
    """Of two spellings the first one stays."""
    names = ["Console.example", "console.EXAMPLE", "other.example"]

    assert checked_names(names) == ("Console.example", "other.example")
