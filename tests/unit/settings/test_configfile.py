"""The configuration file is data: read with its quotes and variables, never run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.settings.config_file import MAX_FILE_BYTES, ConfigEntry, parse

ENVIRON = {"SET": "from outside", "EMPTY": "", "CODE": "$(reboot)"}


def value_of(line: str) -> str:
    """Parse *line*, which must be right, and give its value."""
    file = parse(line.encode(), ENVIRON)
    assert file.mistakes == ()
    return file.entries[0].value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param("KEY=8083", "8083", id="plain"),
        pytest.param("KEY=", "", id="empty"),
        pytest.param("  KEY=8083  ", "8083", id="white-space-around"),
        pytest.param("KEY=8083 # the port", "8083", id="comment-after"),
        pytest.param("KEY=8083\t#the port", "8083", id="comment-after-a-tab"),
        pytest.param("KEY= # nothing", "", id="comment-after-nothing"),
        pytest.param("KEY=a#b", "a#b", id="no-comment-within-a-word"),
        pytest.param("KEY=a=b", "a=b", id="equals-sign"),
        pytest.param('KEY="two words"', "two words", id="double-quotes"),
        pytest.param("KEY='two words' # c", "two words", id="single-quotes"),
        pytest.param("KEY=''", "", id="empty-quotes"),
        pytest.param("KEY='a; $(b) `c` # d'", "a; $(b) `c` # d", id="literal"),
        pytest.param('KEY="a; b | c # d"', "a; b | c # d", id="double-literal"),
        pytest.param("KEY=/a'b c'\"d\"/e", "/ab cd/e", id="quotes-within-a-word"),
        pytest.param("KEY=${SET-x}", "from outside", id="variable"),
        pytest.param("KEY=${SET:-x}", "from outside", id="variable-colon"),
        pytest.param("KEY=${EMPTY-x}", "", id="empty-variable"),
        pytest.param("KEY=${EMPTY:-x}", "x", id="empty-variable-colon"),
        pytest.param("KEY=${UNSET-x}", "x", id="default"),
        pytest.param("KEY=${UNSET:-x}", "x", id="default-colon"),
        pytest.param("KEY=${UNSET-}", "", id="empty-default"),
        pytest.param("KEY=/a/${UNSET-x}/b", "/a/x/b", id="variable-within"),
        pytest.param('KEY="a ${UNSET-x y} b"', "a x y b", id="variable-quoted"),
        pytest.param("KEY='${SET-x}'", "${SET-x}", id="variable-literal"),
        pytest.param("KEY=${CODE-x}", "$(reboot)", id="value-is-not-read-again"),
        pytest.param("KEY=größe", "größe", id="not-ascii"),
    ],
)
def test_a_value_means_what_a_shell_would_make_of_it(line: str, value: str) -> None:
    """Quotes, comments and defaults are as in the file a shell would source."""
    assert value_of(line) == value


@pytest.mark.parametrize(
    "line",
    [
        "KEY=$(hostname --fqdn)",
        'KEY="$(hostname)"',
        "KEY=`hostname`",
        "KEY=a;reboot",
        "KEY=a ; reboot",
        "KEY=a && reboot",
        "KEY=a|b",
        "KEY=a > /tmp/b",
        "KEY=<b",
        "KEY=(a b)",
        "KEY=$OTHER",
        "KEY=${OTHER}",
        "KEY=${OTHER-$(reboot)}",
        "KEY=${OTHER:=x}",
        "KEY=a\\ b",
        "KEY=a&",
    ],
)
def test_shell_code_in_a_value_is_a_mistake(line: str) -> None:
    """It is not run, and the operator is told what to write instead."""
    file = parse(f"A=1\n{line}\nB=2".encode(), ENVIRON)

    [mistake] = file.mistakes
    assert (mistake.line, mistake.key) == (2, "KEY")
    assert "shell code is not run" in mistake.sentence
    assert "write the plain value" in mistake.sentence
    assert [entry.key for entry in file.entries] == ["A", "B"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("KEY=two words", "put a value with spaces in quotes", id="words"),
        pytest.param('KEY="open', "is not closed on this line", id="open-double"),
        pytest.param("KEY='open", "is not closed on this line", id="open-single"),
        pytest.param("KEY = a", "is not KEY=value", id="spaces-at-equals"),
        pytest.param("if [[ $? == 1 ]]; then", "is not KEY=value", id="if"),
        pytest.param("export KEY=a", "is not KEY=value", id="export"),
        pytest.param("9KEY=a", "is not KEY=value", id="name"),
        pytest.param("x" * 100, "'" + "x" * 57 + "...'", id="long"),
    ],
)
def test_other_lines_are_mistakes_with_their_reason(line: str, words: str) -> None:
    """The sentence tells what is wrong, and shows no more than needed."""
    [mistake] = parse(line.encode(), {}).mistakes

    assert mistake.line == 1
    assert words in mistake.sentence


def test_all_mistakes_are_reported_with_their_lines() -> None:
    """One round of corrections is enough."""
    file = parse(b"# a\n\nA=$(a)\nB=1\r\nB=2\nC\n", {})

    assert [mistake.line for mistake in file.mistakes] == [3, 5, 6]
    assert file.entries == (ConfigEntry("B", "1", 4),)


def test_a_key_set_twice_is_a_mistake() -> None:
    """Which one counts is not guessed; both lines are named."""
    [mistake] = parse(b"A=1\n\nA=1\n", {}).mistakes

    assert mistake.line == 3
    assert mistake.sentence == "A is set twice, on line 1 and here; keep one"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(b"A=1\nB=\x00\nC=\x01", 2, id="nul"),
        pytest.param(b"\x7fELF\x02\x01", 1, id="program"),
        pytest.param(b"\x89PNG\r\n\x1a\n\xff\xfe", 0, id="picture"),
        pytest.param("A=ü".encode("latin-1"), 0, id="latin-1"),
        pytest.param("A=1".encode("utf-16"), 0, id="utf-16"),
        pytest.param(b"# a\rA=1\rB=2\r", 1, id="old-mac"),
        pytest.param(b"A=1\r\nB=2 # b\rC=3\n", 2, id="mixed"),
        pytest.param(b"A=1\n" * MAX_FILE_BYTES, 0, id="huge"),
    ],
)
def test_what_is_not_text_is_one_mistake(content: bytes, line: int) -> None:
    """A wrong file gives one clear sentence, not one for each line."""
    file = parse(content, {})

    assert file.entries == ()
    assert [mistake.line for mistake in file.mistakes] == [line]
    assert file.mistakes[0].sentence.startswith("the file ")


def test_files_from_windows_are_read() -> None:
    """A byte order mark and CRLF line ends change nothing."""
    file = parse(b"\xef\xbb\xbfA=1\r\nB='2'\r\n", {})

    assert file.entries == (ConfigEntry("A", "1", 1), ConfigEntry("B", "2", 2))
    assert file.mistakes == ()


@given(content=st.binary() | st.text().map(lambda text: f"K={text}".encode()))
def test_nothing_makes_the_parser_fail(content: bytes) -> None:
    """Whatever the file holds, there is an answer, and lines are within the file."""
    file = parse(content, {})

    last = content.count(b"\n") + 1
    assert all(0 <= mistake.line <= last for mistake in file.mistakes)
