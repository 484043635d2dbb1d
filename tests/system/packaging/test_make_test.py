"""Rules of `make test` and `.ci/run`: every part runs, and every part is counted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
#: Stands in for Python: notes what it is called with; the tests of one part fail.
STAND_IN = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    *pytest*"$FAILING"*) echo "= 1 failed, 2 passed in 0.10s ="; exit 1 ;;
    *pytest*) echo "= 3 passed, 1 skipped in 0.10s =" ;;
esac
"""
#: Of the words of each part, as it runs.
PARTS = ("tests/unit -p", "tests/system -p", "tests/system -m timed")


@pytest.mark.needs("make")
@pytest.mark.parametrize("failing", [*PARTS, "none"])
def test_every_part_runs_and_is_counted(tmp_path: Path, failing: str) -> None:
    """A part runs when one before it failed; a failure in any of them is one."""
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
        timeout=120,
    )
    parts = [line for line in calls.read_text().splitlines() if "pytest" in line]

    assert [words in part for words, part in zip(PARTS, parts, strict=True)] == [
        True
    ] * 3, done.stdout
    unit, system, total = done.stdout.splitlines()[-3:]
    if failing == "none":
        assert done.returncode == 0
        assert unit == "tests/unit: 3 passed, 0 failed, 1 skipped"
        assert system == "tests/system: 6 passed, 0 failed, 2 skipped"
        assert total == "9 passed, 0 failed, 3 skipped"
    else:
        assert done.returncode != 0
        assert total == "8 passed, 1 failed, 2 skipped"
