"""The wheel in the release says what it needs, for those who install it with pip."""

import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from tests.packaging.test_dependencies import required


def test_the_wheel_depends_on_all_requirements(release: Path, tmp_path: Path) -> None:
    """As requirements.in lists them."""
    with tarfile.open(release) as packed:
        name = next(n for n in packed.getnames() if "/twistlock_console_ha-" in n)
        packed.extract(name, tmp_path, filter="data")
    with zipfile.ZipFile(tmp_path / name) as wheel:
        metadata = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
        said = HeaderParser().parsestr(wheel.read(metadata).decode())

    needs = said.get_all("Requires-Dist", [])
    assert len(needs) == len(required())
    assert all(any(need.startswith(name) for need in needs) for name in required())
