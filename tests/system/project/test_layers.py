"""Imports run one way: import-linter notices every import that points upwards."""

import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]
PACKAGES = ("twistlock_console", "plugins", "twistlock_defender", "demo")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def layer_contracts() -> list[dict[str, Any]]:
    """The contracts of layers in pyproject.toml that are inside one package."""
    text = (PROJECT / "pyproject.toml").read_text()
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return [c for c in contracts if c["type"] == "layers" and "containers" in c]


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what import-linter reads."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "static", "templates")
        shutil.copytree(PROJECT / package, folder / package, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return folder


def plant(tree: Path, lower: str, upper: str) -> None:
    """Let the package or module *lower* import *upper*."""
    place = tree / lower.replace(".", "/")
    file = place / "planted.py" if place.is_dir() else place.with_suffix(".py")
    with file.open("a") as module:
        module.write(f"\nimport {upper}\n")


def planted_imports(tree: Path, contract: dict[str, Any]) -> set[tuple[str, str]]:
    """Plant an import of the layer above into each part of each layer but the top."""
    container = contract["containers"][0]
    layers = [layer.split(" | ") for layer in contract["layers"]]
    planted = set()
    for above, below in pairwise(layers):
        for part in below:
            lower, upper = f"{container}.{part}", f"{container}.{above[0]}"
            plant(tree, lower, upper)
            planted.add((lower, upper))
    return planted


@pytest.mark.parametrize("contract", layer_contracts(), ids=lambda c: c["name"])
def test_an_import_that_points_upwards_is_refused(
    contract: dict[str, Any], tmp_path: Path
) -> None:
    """For each part of each layer, the layer above it."""
    tree = copy_of_the_tree(tmp_path)
    planted = planted_imports(tree, contract)

    ran = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 1
    said = " ".join(ran.stdout.split())
    missing = [
        (lower, upper)
        for lower, upper in sorted(planted)
        if f"{lower} is not allowed to import {upper}" not in said
    ]
    assert missing == []


def test_the_defender_may_import_the_protocol_alone(tmp_path: Path) -> None:
    """Of the Console nothing else, not even what happens to be harmless."""
    tree = copy_of_the_tree(tmp_path)
    plant(tree, "twistlock_defender.common", "twistlock_console.common.clock")

    ran = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 1
    assert "twistlock_defender.common.planted" in ran.stdout
