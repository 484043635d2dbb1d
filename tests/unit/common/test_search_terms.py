"""Rules of the words by which a document is found."""

import pytest

from twistlock_console.common.search_terms import index_terms, query_terms


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        pytest.param(("Alice",), ["alice"], id="small-letters"),
        pytest.param(
            ("web-1.example.com",),
            ["web-1.example.com", "web", "1", "example", "com"],
            id="whole-and-parts",
        ),
        pytest.param(("failed login", "login"), ["failed", "login"], id="once"),
        pytest.param(("/usr/bin/nc",), ["/usr/bin/nc", "usr", "bin", "nc"], id="path"),
        pytest.param(("", " ", "…"), ["…"], id="no-empty-words"),
        pytest.param(("x" * 99,), ["x" * 64], id="cut"),
    ],
)
def test_words_of_a_text(texts: tuple[str, ...], words: list[str]) -> None:
    """A document is found by what stands between blanks, and by its parts."""
    assert index_terms(*texts) == words


def test_a_document_has_few_words() -> None:
    """However long its texts are, a document does not swell the index."""
    assert len(index_terms(" ".join(str(n) for n in range(999)))) == 24


def test_a_search_is_cut_to_four_terms() -> None:
    """What is typed cannot become a query without end."""
    assert query_terms(" A  b-1 c d e f ") == ["a", "b-1", "c", "d"]
