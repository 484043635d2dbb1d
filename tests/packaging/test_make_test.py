"""Rules of `make test` and `.ci/run`: every part runs, and every part is counted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
#: Stands in for Python: notes what it is called with; the tests of one part fail.
STAND_IN = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    *pytest*"$FAILING"*) echo "= 1 failed, 2 passed in 0.10s ="; exit 1 ;;
    *pytest*) echo "= 3 passed, 1 skipped in 0.10s =" ;;
esac
"""
NOT_TIMED = "not timed"


@pytest.mark.needs("make")
@pytest.mark.parametrize("failing", [NOT_TIMED, "-m timed", "none"])
def test_both_parts_run_and_are_counted(tmp_path: Path, failing: str) -> None:
    """The timed part runs when the first part failed; a failure in either is one."""
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    calls = tmp_path / "calls"
    (tmp_path / ".ci").mkdir()
    shutil.copy(PROJECT / ".ci/run", tmp_path / ".ci/run")
    lines = (f"override PYTHON = {python}", f"include {PROJECT}/Makefile")
    (tmp_path / "Makefile").write_text("\n".join((*lines, "lint:", "\t@true", "")))
    environment = {**os.environ, "CALLS": str(calls), "FAILING": failing}
    done = subprocess.run(
        [tmp_path / ".ci/run"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    parts = [line for line in calls.read_text().splitlines() if "pytest" in line]

    assert [NOT_TIMED in part for part in parts] == [True, False], done.stdout
    if failing == "none":
        assert done.returncode == 0
        assert done.stdout.endswith("6 passed, 0 failed, 2 skipped\n")
    else:
        assert done.returncode != 0
        assert done.stdout.endswith("5 passed, 1 failed, 1 skipped\n")
