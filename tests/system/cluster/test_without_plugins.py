"""The core without any plugin, from a copy of the tree without them."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.alone_node import PROJECT, AloneNode
from tests.cluster.console_visitor import ConsoleVisitor
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for

pytestmark = pytest.mark.unmeasured

REMOVED = ("plugins", "demo")
CONTRACT = r"(?=^\[\[tool\.importlinter\.contracts\]\]$)"
METADATA = "Metadata-Version: 2.1\nName: broken\nVersion: 0\n"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
#: Tests of the core that name no plugin, start nothing, and take seconds.
CORE_TESTS = (
    "tests/unit/accounts/test_account_rules.py",
    "tests/unit/settings/test_configfile.py",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files but those of plugins, with their lines in pyproject.toml."""
    copy = tmp_path_factory.mktemp("core") / "tree"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in tracked:
        source = PROJECT / name
        if name and name.split("/")[0] not in REMOVED and source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy / name)
    project = copy / "pyproject.toml"
    project.write_text(without_plugins(project.read_text()))
    run(copy, "packaging/checkout_metadata.py")
    return copy


def without_plugins(text: str) -> str:
    """*text* of pyproject.toml without entry points and contracts of plugins."""
    lines = [line for line in text.splitlines() if "plugins.ha" not in line]
    parts = re.split(CONTRACT, "\n".join(lines), flags=re.MULTILINE)
    kept = [part for part in parts if 'layers = ["demo"' not in part]
    kept = [part for part in kept if 'name = "layers of high availability"' not in part]
    return (
        "".join(kept)
        .replace(', "plugins"', "")
        .replace(', "demo"', "")
        .replace('"demo", "plugins", ', "")
    )


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the *tree*; raises CalledProcessError with what it said."""
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tree: Path) -> Iterator[AloneNode]:
    """A node that runs from the *tree*."""
    with server_folder(request, "core") as folder:
        started = AloneNode(folder, project=tree)
        try:
            wait_for(started.serves, 60, "the node to serve")
            yield started
        finally:
            started.process.kill()
            started.process.wait()


def test_it_serves_pages_the_api_and_defenders(node: AloneNode) -> None:
    """Nothing of high availability is there, and nothing misses it."""
    visitor = ConsoleVisitor(node)
    paths: dict[str, Any] = visitor.call("GET", "/openapi.json")["paths"]

    assert "<h1>" in visitor.page("/login")
    assert visitor.call("GET", "/defenders") == []
    assert set(node.status()["pids"]) == {"mongod", "management", "defenders"}
    assert [path for path in paths if "high-availability" in path] == []


def test_the_command_line_has_no_command_of_plugins(tree: Path) -> None:
    """Those of the core are there."""
    shown = run(tree, "app.py", "--help").stdout
    commands = set(re.findall(r"^  ([a-z]+) ", shown, re.MULTILINE))

    assert {"run", "status", "backup"} <= commands
    assert commands.isdisjoint({"ha", "loadbalancer", "demo"})


def test_a_setting_of_a_plugin_is_no_key(tree: Path, node: AloneNode) -> None:
    """It is warned about, as any other unknown key."""
    shown = run(tree, "app.py", "config", "--config", str(node.config)).stdout

    assert "HIGH_AVAILABILITY_ENABLED" not in shown


def test_its_imports_keep_their_layers(tree: Path) -> None:
    """The contracts of the core hold without the plugins' modules."""
    contracts = tomllib.loads((tree / "pyproject.toml").read_text())["tool"]

    assert contracts["importlinter"]["root_packages"]
    run(tree, "-c", LINT)


def test_its_own_tests_pass(tree: Path) -> None:
    """A part that takes seconds."""
    run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CORE_TESTS)


def test_a_plugin_that_cannot_be_loaded_stops_the_start(tree: Path) -> None:
    """With a sentence that names it."""
    broken = tree / "broken.egg-info"
    broken.mkdir()
    (broken / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: broken\nVersion: 0\n"
    )
    (broken / "entry_points.txt").write_text(
        "[twistlock_console.plugins]\nbroken = no_such_module:plugin\n"
    )
    try:
        ran = subprocess.run(
            [sys.executable, "app.py", "config"],
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        shutil.rmtree(broken)

    assert ran.returncode == 1
    assert "the plugin broken (no_such_module:plugin) cannot be loaded" in ran.stderr
