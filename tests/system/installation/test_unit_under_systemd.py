"""systemd accepts the unit that is installed."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from twistlock_console.installation.files import render_unit

TEMPLATE = Path("packaging/twistlock-console.service").read_text()


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Even with blanks in every folder."""
    programs = tmp_path / "twist lock"
    program = programs / "current/bin/twistlock-console"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "twistlock-console.service"
    folders = (programs, "/srv/my data%$'\"", '/back up"')
    unit.write_text(render_unit(TEMPLATE, *map(PurePosixPath, folders)))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout

    assert [line for line in said.splitlines() if str(unit) in line] == []
