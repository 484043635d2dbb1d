"""The glossary leads to the code, and the code uses the glossary's words."""

import re

import pytest

from tests.unit.project.test_docs import DOCS

ROW = re.compile(r"^\| \*\*(.+?)\*\* \| .+ \| \[`[^`]+`\]\((\S+)\) \|$", re.MULTILINE)
TERMS = dict(ROW.findall((DOCS / "glossary.md").read_text()))
#: The beginnings of words by which the modules that do these things are found.
STEMS = {
    "backoff": "backoff",
    "backpressure": "backpressure",
    "coalesce": "coalesc",
    "cooldown": "cooldown",
    "drain": "drain",
    "fencing": "fenc",
    "handshake": "handshake",
    "idempotent": "idempoten",
    "keepalive": "keepalive",
    "quorum": "quorum",
    "retention": "retention",
    "supervisor": "supervis",
    "throttle": "throttl",
}


def test_every_row_of_the_glossary_is_read() -> None:
    """Each row has a term and one module; no term is defined twice."""
    text = (DOCS / "glossary.md").read_text()

    assert len(TERMS) == text.count("\n| **")


@pytest.mark.parametrize("term", sorted(TERMS))
def test_a_term_leads_to_a_module(term: str) -> None:
    """The module that implements it exists."""
    assert (DOCS / TERMS[term]).is_file()


@pytest.mark.parametrize("term", sorted(STEMS))
def test_the_word_finds_the_code(term: str) -> None:
    """A search for a word of the field finds the module that implements it."""
    text = (DOCS / TERMS[term]).read_text().lower()

    assert STEMS[term] in text
