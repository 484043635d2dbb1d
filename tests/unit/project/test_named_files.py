"""The files that the documents name exist, and the map for contributors is whole."""

import re
from pathlib import Path

import pytest

from tests.unit.project.test_docs import PAGES, ROOT

#: A file in code style with a folder before it, as `plugins/ha/plugin.py`.
NAMED = re.compile(
    r"`((?:twistlock_console|twistlock_defender|plugins|demo|tests|packaging|config)"
    r"/[\w./-]+\.(?:py|sh|cfg|yml|yaml|conf|json))`"
)
#: A file that is named without its top folder, as `pki/tls.py`.
SHORTENED = re.compile(r"`((?!build/)[a-z_]+(?:/[a-z_]+)+\.py)`")
MAP_ROW = re.compile(r"^\| ([A-Z][^|]+) \| (.+) \|$", re.MULTILINE)
#: What a release is described by; the past keeps the names that it had.
HISTORY = ROOT / "CHANGELOG.md"


def _map() -> dict[str, list[str]]:
    """The files of each task, from the table in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    _, _, rest = text.partition("## Map for contributors\n")
    return {
        task: re.findall(r"`([\w/]+\.py)`", files)
        for task, files in MAP_ROW.findall(rest.partition("\n## ")[0])
    }


MAP = _map()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    """A file that is moved or renamed is renamed in the documents too."""
    named = [] if page == HISTORY else NAMED.findall(page.read_text())

    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_files_in_full(page: Path) -> None:
    """A reader can open a file by its name; link texts may be shorter."""
    text = re.sub(r"\[`[^`]*`\]\([^)]*\)", "", page.read_text())
    named = [] if page == HISTORY else SHORTENED.findall(text)

    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_map_has_twenty_tasks() -> None:
    """It answers what contributors ask every day, and stays short."""
    assert len(MAP) == 20


@pytest.mark.parametrize("task", sorted(MAP))
def test_a_task_leads_to_a_file(task: str) -> None:
    """Each task names a file that exists."""
    assert MAP[task]
    assert [name for name in MAP[task] if not (ROOT / name).is_file()] == []
