"""A second plugin, installed as a wheel: everything that it declares is there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.alone_node import PROJECT, AloneNode
from tests.cluster.console_visitor import ConsoleVisitor
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for
from twistlock_console.backups.storage.volume import read_manifest

pytestmark = pytest.mark.unmeasured

EXAMPLE = PROJECT / "examples/plugins/maintenance-notice"
TOOLS = PROJECT / "build/release-tools/bin/python"
CONTACT = "ops@example.com"
TEXT = "The Console pauses on Sunday"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin, built as a wheel and installed by pip."""
    made = tmp_path_factory.mktemp("plugin")
    # It sets the build tools up.
    subprocess.run(
        ["packaging/release.sh", "--help"], cwd=PROJECT, check=True, timeout=150
    )
    wheel = ("wheel", "--no-deps", "--no-build-isolation", "-w", str(made), EXAMPLE)
    subprocess.run([TOOLS, "-m", "pip", "--quiet", *wheel], check=True, timeout=120)
    install = ("install", "--no-deps", "--no-index", "--target", made / "site")
    built = next(made.glob("*.whl"))
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *install, built], check=True, timeout=120)
    return made / "site"


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, site: Path) -> Iterator[AloneNode]:
    """A node in whose environment the plugin is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        with server_folder(request, "plugin") as folder:
            started = AloneNode(folder, MAINTENANCE_CONTACT=CONTACT)
            try:
                wait_for(started.serves, 60, "the node to serve")
                yield started
            finally:
                started.process.kill()
                started.process.wait()


@pytest.fixture(scope="module")
def visitor(node: AloneNode) -> ConsoleVisitor:
    """The administrator, who has written a notice."""
    made = ConsoleVisitor(node)
    made.call("PUT", "/maintenance-notice", {"text": TEXT})
    return made


def console(node: AloneNode, *words: str) -> str:
    """What a command prints; raises CalledProcessError if it fails."""
    command = [sys.executable, "app.py", *words]
    if words[0] != "--help":
        command += ["--config", str(node.config)]
    ran = subprocess.run(
        command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=120
    )
    return ran.stdout


def test_it_has_a_setting_and_a_command(node: AloneNode) -> None:
    """The key is checked and shown as any other, and the command is in the help."""
    assert f"MAINTENANCE_CONTACT={CONTACT}" in console(node, "config")
    assert console(node, "notice").strip() == CONTACT
    assert "notice " in console(node, "--help")


def test_it_has_a_page_in_the_menu(visitor: ConsoleVisitor) -> None:
    """Of a section of its own, with its right."""
    visitor.log_in()

    page = visitor.page("/manage/notice")

    assert TEXT in page
    assert 'href="/manage/notice"' in page


def test_its_call_is_described_and_recorded(visitor: ConsoleVisitor) -> None:
    """The API's description has it, and the history has a type for it."""
    paths = visitor.call("GET", "/openapi.json")["paths"]
    entries = visitor.call("GET", "/audits/mgmt?type=maintenance")
    types = visitor.call("GET", "/audits/mgmt/filters")["type"]

    assert paths["/api/v1/maintenance-notice"]["put"]["tags"] == ["Maintenance notice"]
    assert [entry["status"] for entry in entries] == ["changed the maintenance notice"]
    assert "maintenance" in types


def test_its_job_and_its_subscription_run(node: AloneNode) -> None:
    """Both write to the node's log."""
    log = node.settings.folders.log / "console.log"

    wait_for(lambda: f"ask {CONTACT}" in log.read_text(), 30, "the scheduled job")

    assert "now primary" in log.read_text()


def test_backups_leave_its_collection_out(
    node: AloneNode, visitor: ConsoleVisitor
) -> None:
    """As it declares; the rest is there."""
    assert visitor is not None
    console(node, "backup", "create", "mine")

    file = next((node.settings.data_recovery_volume).glob("*.tar.gz"))
    names = {each.name for each in read_manifest(file).collections}
    assert "users" in names
    assert "maintenance_notices" not in names
