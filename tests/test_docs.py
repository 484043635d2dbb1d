"""The manual tells of everything there is, and its links lead somewhere."""

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import app
from plugins.ha.status import ClusterPolled
from twistlock_console import events
from twistlock_console.settings.keys import ACCEPTED, KEYS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

EVENTS = [kind for _, kind in inspect.getmembers(events, is_dataclass)]


def commands(parser: argparse.ArgumentParser, words: str = "") -> Iterator[str]:
    """Every command of *parser* that does something, as it is typed."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in below:
        for name, child in action.choices.items():
            yield from commands(child, f"{words} {name}".strip())
    if not below:
        yield words


@pytest.mark.parametrize("key", sorted({key.name for key in KEYS} | ACCEPTED))
def test_every_setting_is_documented(key: str) -> None:
    """Each key that twistlock.cfg may hold is on the page of settings."""
    assert f"`{key}`" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("command", sorted(commands(app._parser())))
def test_every_command_is_documented(command: str) -> None:
    """Each command has its row on the page of the command line."""
    page = (DOCS / "command-line.md").read_text()

    assert re.search(rf"^\| `{command}[ `]", page, re.MULTILINE)


@pytest.mark.parametrize("kind", [*EVENTS, ClusterPolled], ids=lambda k: k.__name__)
def test_every_event_is_documented(kind: type) -> None:
    """Each event has its row on the page of the architecture."""
    assert f"| `{kind.__name__}` |" in (DOCS / "architecture.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """What a page links to inside the repository is there."""
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def test_every_page_can_be_found() -> None:
    """Each page of the manual is linked to by another one."""
    linked = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text())
    }
    decisions = DOCS / "decisions"
    pages = {page for page in DOCS.rglob("*.md") if page.parent != decisions}

    assert pages - linked == set()
    assert decisions in linked


def test_every_target_is_explained() -> None:
    """`make help` tells of each target that is no file."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)

    assert phony is not None
    assert sorted(phony[1].split()) == sorted(explained)
