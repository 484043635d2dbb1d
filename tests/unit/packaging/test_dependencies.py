"""What the wheel depends on is written in one place, and is complete."""

import ast
import re
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from twistlock_console.defenders.deployment import NEEDED_PROJECTS

PROJECT = Path(__file__).parents[3]
OURS = ("twistlock_console", "plugins", "twistlock_defender")
DEFENDER = ("twistlock_defender", "twistlock_console/protocol")


def normal(name: str) -> str:
    """The name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    """The distributions that requirements.in names."""
    lines = (PROJECT / "requirements.in").read_text().split("\n")
    return {normal(re.split(r"[<>=~! ]", line)[0]) for line in lines if line}


def brought_by(distribution: str) -> set[str]:
    """What *distribution* itself always brings, such as Werkzeug with Flask."""
    needs = [n for n in requires(distribution) or () if "extra" not in n]
    return {normal(re.split(r"[\[(<>=~!; ]", need)[0]) for need in needs}


def imported(packages: Sequence[str] = OURS) -> set[str]:
    """The first word of each module that *packages* of ours import."""
    found = set()
    for path in (p for ours in packages for p in (PROJECT / ours).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found


def test_every_package_that_is_imported_is_required() -> None:
    """Or is a part of one that is."""
    distributions = packages_distributions()
    known = set().union(required(), *map(brought_by, required()))
    foreign = imported() - sys.stdlib_module_names - {*OURS, "app", "wsgi"}
    foreign -= {"_typeshed"}  # for the type checker alone

    missing = {
        module: distributions.get(module, ["unknown"])
        for module in foreign
        if not {*map(normal, distributions.get(module, []))} & known
    }

    assert missing == {}


def test_there_is_one_list() -> None:
    """pyproject.toml has none of its own: a hook reads requirements.in."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    assert "dependencies" in project["dynamic"]
    assert "dependencies" not in project


def required_by_defender() -> set[str]:
    """The distributions that packaging/defender names."""
    text = (PROJECT / "packaging/defender/pyproject.toml").read_text()
    hook = tomllib.loads(text)["tool"]["hatch"]["metadata"]["hooks"]["custom"]
    return set(hook["only"])


def test_the_defender_requires_just_what_it_imports() -> None:
    """A Defender host gets nothing that only the Console needs."""
    distributions = packages_distributions()
    foreign = imported(DEFENDER) - sys.stdlib_module_names - {*OURS}

    needed = {normal(distributions[module][0]) for module in foreign}

    assert required_by_defender() == needed
    assert required_by_defender() < required()


def test_the_package_for_hosts_holds_all_that_the_defender_requires() -> None:
    """With what that brings: such a host has no package index."""
    wanted, new = set(), required_by_defender()
    while new:
        wanted |= new
        new = set().union(*map(brought_by, new)) - wanted

    assert {normal(name) for name in NEEDED_PROJECTS} == {"twistlock-defender", *wanted}
