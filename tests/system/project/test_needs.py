"""What a host lacks skips a test with a sentence; in CI it fails it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
NEEDY = """
import pytest

@pytest.mark.needs("no-such-program")
def test_needy():
    pass
"""
SKIPPED_FILE = """
import pytest

pytest.skip("not on this host", allow_module_level=True)
"""


TIMED = """
import os
import pytest

@pytest.mark.timed
def test_timed():
    assert "COVERAGE_PROCESS_CONFIG" not in os.environ

def test_measured():
    assert os.environ["COVERAGE_PROCESS_CONFIG"] == ":none:"
"""


def run(folder: Path, test: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on *test* as if this were CI, or not."""
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(test)
    words = ["-m", "pytest", "-rs", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """A test whose program is missing is skipped, and says how to get it."""
    done = run(tmp_path, NEEDY, ci="")

    assert done.returncode == 0
    assert "no-such-program is not installed; run: make setup" in done.stdout


@pytest.mark.parametrize("test", [NEEDY, SKIPPED_FILE], ids=["test", "file"])
def test_nothing_is_skipped_in_ci(tmp_path: Path, test: str) -> None:
    """In CI, a skipped test and a skipped file are failures."""
    done = run(tmp_path, test, ci="true")

    assert done.returncode != 0
    assert "nothing may be skipped in CI" in done.stdout


def test_timed_tests_start_no_measured_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coverage, which slows a failover down, stays out of tests that time one."""
    # Of no use to coverage, and so of no effect on this run.
    monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", ":none:")

    done = run(tmp_path, TIMED, ci="")

    assert done.returncode == 0, done.stdout
