"""The manual tells of everything there is, and its links lead somewhere."""

import argparse
import ast
import inspect
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path, PurePath

import click
import pytest

import app
from tests.bench.__main__ import PARTS
from twistlock_console.events import types
from twistlock_console.settings.keys import IGNORED_KEYS, all_keys
from twistlock_defender.cli import main as defender

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

EVENTS = [
    kind
    for _, kind in inspect.getmembers(types, is_dataclass)
    if kind.__module__ == types.__name__
]


def defender_commands() -> list[str]:
    """The commands of the Defender, which uses argparse: it takes less memory."""
    actions = defender._parser()._actions
    below = [a for a in actions if isinstance(a, argparse._SubParsersAction)]
    return sorted(name for action in below for name in action.choices)


def commands(command: click.Command, words: str = "") -> Iterator[str]:
    """Every command of *command* that does something, as it is typed."""
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from commands(child, f"{words} {name}".strip())


def parse(command: click.Command, words: Sequence[str]) -> None:
    """Parse *words* as the program does, and run nothing; raises UsageError."""
    rest = list(words)
    while isinstance(command, click.Group):
        child = command.get_command(click.Context(command), rest.pop(0))
        assert child is not None
        command = child
    command.make_context(command.name, rest)


@pytest.mark.parametrize("key", sorted({key.name for key in all_keys()} | IGNORED_KEYS))
def test_every_setting_is_documented(key: str) -> None:
    """Each key that twistlock.cfg may hold is on the page of settings."""
    assert f"`{key}`" in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("command", sorted(commands(app.console)))
def test_every_command_is_documented(command: str) -> None:
    """Each command has its row on the page of the command line."""
    page = (DOCS / "command-line.md").read_text()

    assert re.search(rf"^\| `{command}[ `]", page, re.MULTILINE)


EVENT_ROW = re.compile(r"^\| `(\w+)` \| .+ \| (.+) \| (.+) \|$", re.MULTILINE)


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call in the product, with its file."""
    return [
        (str(file.relative_to(ROOT)), node)
        for root in ("twistlock_console", "plugins")
        for file in sorted((ROOT / root).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
    ]


def files_that_call(kind: str) -> tuple[set[str], set[str]]:
    """The files that make an event of *kind*, and those that subscribe to it."""
    made, subscribed = set(), set()
    for name, call in calls():
        first = call.args[0] if call.args else None
        if isinstance(call.func, ast.Name) and call.func.id == kind:
            made.add(name)
        if (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "subscribe"
            and isinstance(first, ast.Name)
            and first.id == kind
        ):
            subscribed.add(name)
    return made, subscribed


@pytest.mark.parametrize("kind", EVENTS, ids=lambda k: k.__name__)
def test_the_table_of_events_is_that_of_the_code(kind: type) -> None:
    """Each event has its row, with its publishers and its subscribers."""
    rows = {
        name: tuple(set(re.findall("`([^`]+)`", cell)) for cell in cells)
        for name, *cells in EVENT_ROW.findall((DOCS / "architecture.md").read_text())
    }

    assert rows[kind.__name__] == files_that_call(kind.__name__)


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
    explained = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)

    assert phony is not None
    assert sorted(phony[1].split()) == sorted(explained)


TYPED = re.compile(r"(?:sudo )?(?:\S*/)?(twistlock-(?:console|defender) [^|]*)")
QUOTED = re.compile(r"`(?:sudo )?(twistlock-(?:console|defender) [^`]+)`")
#: What stands for something else, or for more: no command as it is.
PLACEHOLDER = re.compile(r"[…|<>]|\.\.\.|, ")


def documented_commands() -> Iterator[tuple[str, ...]]:
    """Each command of ours in the manual, in a block of code or within a sentence."""
    for page in PAGES:
        fenced = re.split(r"^```.*$", page.read_text(), flags=re.MULTILINE)
        for block in fenced[1::2]:
            typed = (TYPED.match(line.strip()) for line in block.splitlines())
            yield from (tuple(shlex.split(t[1], comments=True)) for t in typed if t)
        for quoted in QUOTED.findall("".join(fenced[0::2])):
            if not PLACEHOLDER.search(quoted):
                yield tuple(shlex.split(quoted))


@pytest.mark.parametrize("words", sorted(set(documented_commands())), ids=" ".join)
def test_every_command_in_the_manual_can_be_typed(words: tuple[str, ...]) -> None:
    """The real parser takes it as it stands there."""
    console = PurePath(words[0]).name == "twistlock-console"

    if console:
        parse(app.console, words[1:])
    else:
        defender._parser().parse_args(words[1:])


def test_there_are_commands_in_the_manual() -> None:
    """The search finds them."""
    assert len(set(documented_commands())) >= 8


@pytest.mark.parametrize("command", defender_commands())
def test_every_command_of_the_defender_is_documented(command: str) -> None:
    """Each has its row on the Defender's page."""
    page = (DOCS / "defender.md").read_text()

    assert re.search(rf"^\| `twistlock-defender {command}[ `]", page, re.MULTILINE)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_of_the_benchmark_is_documented(part: str) -> None:
    """Each has its row on the page of benchmarks."""
    assert f"| `{part}` |" in (DOCS / "benchmarks.md").read_text()
