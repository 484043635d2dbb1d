"""-j: what the Console read of the installed file is kept, in the new file's words."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.installation.files import lines_of, merge
from twistlock_console.settings.config_file import parse, quote

NEW = b"# new words\nA=1\n\n# B is\nB=\nNEW=yes\n"


def merged(installed: bytes, new: bytes = NEW) -> str:
    """The new file with the values of the installed one."""
    return merge(new, lines_of(installed))


def test_values_and_new_comments_are_kept() -> None:
    """In the new file's order; what it does not know follows."""
    installed = b"# old words\nB='x = y'\nA=2 # why\nGONE=1\nOLD=2\n"

    assert merged(installed) == (
        "# new words\nA=2 # why\n\n# B is\nB='x = y'\nNEW=yes\nGONE=1\nOLD=2\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"  A=true", id="indented"),
        pytest.param(b"\tA=true\t", id="tabs"),
        pytest.param(codecs.BOM_UTF8 + b"A=true", id="byte-order-mark"),
        pytest.param(b"A=true\r", id="carriage-return"),
        pytest.param(b'A="true"', id="quotes"),
        pytest.param(b"A=${UNSET-true}", id="default"),
        pytest.param(b"\xc2\xa0A=true", id="no-break-space"),
        pytest.param(b"A=true # c", id="comment"),
    ],
)
def test_what_the_console_read_is_kept(line: bytes) -> None:
    """However the line was written."""
    text = merged(line + b"\nC=3\n")

    values = {entry.key: entry.value for entry in parse(text.encode(), {}).entries}
    assert values == {"A": "true", "B": "", "NEW": "yes", "C": "3"}


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_the_new_file_may_be_from_windows(ending: bytes) -> None:
    """Its byte order mark and its line ends are no part of it."""
    new = codecs.BOM_UTF8 + ending.join([b"A=1", b"", b"B=2"])

    assert merged(b"B=3\n", new) == "A=1\n\nB=3\n"


def test_an_indented_line_of_the_new_file_is_replaced() -> None:
    """And not set a second time, which would be a mistake."""
    assert merged(b"A=2", b"  A=1\n") == "A=2\n"


def test_binary_files_are_not_merged() -> None:
    """The caller refuses them first."""
    with pytest.raises(TypeError):
        merge(b"\xff", {})


@given(value=st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_a_quoted_value_is_read_as_it_was(value: str) -> None:
    """Whatever characters are in it."""
    file = parse(f"A={quote(value)}\n".encode(), {"x": "y"})

    assert file.mistakes == ()
    assert file.entries[0].value == value


lines = st.sampled_from(
    ["A=1", " A=2", "B=x # c", "\tB='a b'", "# c", "", "C=${A-d}", "D="]
)


@given(new=st.lists(lines), installed=st.lists(lines))
def test_all_that_was_read_is_kept(new: list[str], installed: list[str]) -> None:
    """Of any two files without mistakes."""
    old, fresh = "\n".join(installed).encode(), "\n".join(new).encode()
    if parse(old, {}).mistakes or parse(fresh, {}).mistakes:
        return

    result = parse(merged(old, fresh).encode(), {})

    assert result.mistakes == ()
    values = {entry.key: entry.value for entry in result.entries}
    expected = {e.key: e.value for e in parse(fresh, {}).entries}
    expected |= {e.key: e.value for e in parse(old, {}).entries}
    assert values == expected
